// Conversations in IndexedDB, one record each. Without IndexedDB they are kept in memory, and the page shows a warning.

const NAME = "moss";
const TABLE = "conversations";

export class Store {
  #database;

  constructor(database) {
    this.#database = database;
  }

  /** Never fails. `lasting` is false if the data is lost with the page. */
  static async open() {
    try {
      return new Store(await openDatabase());
    } catch {
      return new Store(null);
    }
  }

  get lasting() {
    return this.#database !== null;
  }

  all() {
    return this.#run("readonly", (table) => table.getAll(), []);
  }

  get(id) {
    return this.#run("readonly", (table) => table.get(id), null);
  }

  /** Rejects with the browser's error, `QuotaExceededError` if the storage is full. */
  put(conversation) {
    return this.#run("readwrite", (table) => table.put(structuredClone(conversation)));
  }

  /** Stores all records or none. */
  putAll(conversations) {
    return this.#run("readwrite", (table) => conversations.map((conversation) => table.put(structuredClone(conversation))).at(-1));
  }

  remove(id) {
    return this.#run("readwrite", (table) => table.delete(id));
  }

  clear() {
    return this.#run("readwrite", (table) => table.clear());
  }

  #run(mode, work, without = undefined) {
    if (!this.#database) return Promise.resolve(without);
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(TABLE, mode);
      let request;
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error ?? new Error("the browser gave up a write"));
      try {
        request = work(transaction.objectStore(TABLE));
      } catch (error) {
        transaction.abort();
        reject(error);
      }
    });
  }
}

function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id" });
    request.onsuccess = () => {
      // Another tab with a newer page may need to upgrade.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = request.onblocked = () => reject(request.error ?? new Error("blocked"));
  });
}
