// An NVIDIA driver that is in some trouble, for scripts/check-driver. It has every name of the driver's interface, of which those that a
// program calls before its first kernel answer, as the environment tells them:
//
//   STAND_IN_VERSION   CUDA that it offers, 1000 x major + 10 x minor     (13000)
//   STAND_IN_INIT      what cuInit answers                                (0)
//   STAND_IN_DEVICES   cards that it shows                                (1)
//   STAND_IN_CONTEXT   what taking a card's context answers               (0)
//   STAND_IN_STREAM    and making a stream in it                          (0)
//   STAND_IN_CAPABILITY  compute capability, 10 x major + minor           (75)
//
// It takes kernels as such a driver does: machine code that is an ELF file, and PTX that is not newer than the CUDA that it offers. Whoever goes
// on to use the GPU is told 999.
//
// Source: the driver's API reference; numbers of errors and attributes as in cuda.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, INVALID_DEVICE = 101, INVALID_IMAGE = 200, UNSUPPORTED_PTX = 222 };

static int set(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

int cuGetErrorName(int code, const char **name) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return *name = errors[i].name, OK;
    return *name = NULL, INVALID_VALUE;
}

int cuGetErrorString(int code, const char **text) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return *text = errors[i].text, OK;
    return *text = NULL, INVALID_VALUE;
}

int cuInit(unsigned flags) { return (void)flags, set("STAND_IN_INIT", OK); }
int cuDriverGetVersion(int *version) { return *version = set("STAND_IN_VERSION", 13000), OK; }
int cuDeviceGetCount(int *count) { return *count = set("STAND_IN_DEVICES", 1), OK; }

int cuDeviceGet(int *device, int ordinal) {
    if (ordinal < 0 || ordinal >= set("STAND_IN_DEVICES", 1)) return INVALID_DEVICE;
    return *device = ordinal, OK;
}

int cuDeviceGetName(char *name, int length, int device) {
    return (void)device, strncpy(name, "Stand-in", (size_t)length), OK;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) { return (void)device, *bytes = (size_t)16 << 30, OK; }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 33: *value = device + 1; break; // place on the bus
    case 75: *value = set("STAND_IN_CAPABILITY", 75) / 10; break; // major
    case 76: *value = set("STAND_IN_CAPABILITY", 75) % 10; break; // and minor
    default: *value = 0;
    }
    return OK;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    int answer = set("STAND_IN_CONTEXT", OK);
    return (void)device, *context = answer == OK ? errors : NULL, answer;
}

int cuDevicePrimaryCtxRelease_v2(int device) { return (void)device, OK; }
int cuCtxGetCurrent(void **context) { return *context = NULL, OK; }
int cuCtxSetCurrent(void *context) { return (void)context, OK; }
int cuCtxSynchronize(void) { return OK; }
int cuStreamCreate(void **stream, unsigned flags) { return (void)flags, *stream = NULL, set("STAND_IN_STREAM", OK); }

int cuModuleLoadData(void **module, const void *image) {
    int major, minor, offered = set("STAND_IN_VERSION", 13000);
    *module = (void *)image;
    if (!memcmp(image, "\177ELF", 4)) return OK;
    const char *version = strstr(image, "\n.version ");
    if (!version || sscanf(version, "\n.version %d.%d", &major, &minor) != 2) return INVALID_IMAGE;
    return 1000 * (major + 4) + 10 * minor <= offered ? OK : UNSUPPORTED_PTX; // PTX 8.2 came with CUDA 12.2
}

int cuModuleUnload(void *module) { return (void)module, OK; }
int cuModuleGetFunction(void **function, void *module, const char *name) { return (void)name, *function = module, OK; }
int cuFuncSetAttribute(void *function, int attribute, int value) { return (void)function, (void)attribute, (void)value, OK; }
