//! The linear algebra of GPTQ: the Hessian of a layer's inputs, and the triangular factor of its inverse.
//!
//! In f32, as the paper's own code has it: dampening bounds the condition number, and the widest matrix is 2.4 GB instead of twice that.

use faer::{
    Accum, Mat, MatRef, Par,
    dyn_stack::{MemBuffer, MemStack},
    linalg::{
        cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch},
        matmul::{
            matmul,
            triangular::{self, BlockStructure},
        },
        triangular_inverse::invert_lower_triangular,
    },
};

/// Columns of a product that are made at a time.
const CHUNK: usize = 512;

/// `H = 2 / N * sum of x x^T` over the `N` inputs `x` of a layer: how much an error in one weight costs, beside an error in another.
pub(crate) struct Hessian {
    /// The lower triangle of the sum.
    sum: Mat<f32>,
    rows: usize,
}

impl Hessian {
    pub(crate) fn new(in_features: usize) -> Self {
        Self { sum: Mat::zeros(in_features, in_features), rows: 0 }
    }

    /// Adds inputs `[rows, in_features]`, row-major.
    pub(crate) fn add(&mut self, inputs: &[f32]) {
        let n = self.sum.nrows();
        let x = MatRef::from_row_major_slice(inputs, inputs.len() / n, n);
        triangular::matmul(
            &mut self.sum,
            BlockStructure::TriangularLower,
            Accum::Add,
            x.transpose(),
            BlockStructure::Rectangular,
            x,
            BlockStructure::Rectangular,
            1.0,
            par(),
        );
        self.rows += inputs.len() / n;
    }

    /// `H[i][i]`
    pub(crate) fn diagonal(&self) -> Vec<f64> {
        (0..self.sum.nrows()).map(|at| f64::from(self.sum[(at, at)]) * self.scale()).collect()
    }

    fn scale(&self) -> f64 {
        2.0 / self.rows.max(1) as f64
    }
}

/// `L` of `J H J = L L^T` and its inverse, where `J` turns the order of the inputs around.
///
/// GPTQ needs the upper `U` of `H^-1 = U^T U`. `J L J` is upper triangular and `H = (J L J) (J L J)^T`, so `U` is the inverse of `J L J`: one
/// factorisation and one triangular inverse, and the inverse of `H` itself is never formed.
pub(crate) struct Factor {
    /// Inputs in the order in which they are rounded.
    pub(crate) order: Vec<usize>,
    /// Inputs that were always zero, whose weights have no effect.
    pub(crate) dead: Vec<bool>,
    lower: Mat<f32>,
    inverse: Mat<f32>,
}

impl Factor {
    /// Factors `H` with `dampening` times its mean diagonal added to the diagonal; inputs as they come, or those of the largest diagonal first.
    /// `None` where that is not positive definite. At most twice the memory of `H` is taken.
    pub(crate) fn new(hessian: Hessian, act_order: bool, dampening: f64) -> Option<Self> {
        let diagonal = hessian.diagonal();
        let n = diagonal.len();
        let mut order: Vec<usize> = (0..n).collect();
        if act_order {
            order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a])); // equals stay as they are
        }
        let dead: Vec<bool> = diagonal.iter().map(|value| *value == 0.0).collect();
        let scale = hessian.scale() as f32;
        let damp = (dampening * diagonal.iter().sum::<f64>() / n as f64) as f32;
        let mut lower = Mat::from_fn(n, n, |row, column| {
            let (row, column) = (order[n - 1 - row], order[n - 1 - column]);
            let value = hessian.sum[(row.max(column), row.min(column))] * scale;
            if row == column { damp + if dead[row] { 1.0 } else { value } } else { value }
        });
        drop(hessian);
        let scratch = cholesky_in_place_scratch::<f32>(n, par(), Default::default());
        let mut memory = MemBuffer::try_new(scratch).ok()?;
        let stack = MemStack::new(&mut memory);
        cholesky_in_place(lower.as_mut(), Default::default(), par(), stack, Default::default()).ok()?;
        let mut inverse = Mat::zeros(n, n);
        invert_lower_triangular(inverse.as_mut(), lower.as_ref(), par());
        Some(Self { order, dead, lower, inverse })
    }

    /// `U[row][column]`, places in the order.
    pub(crate) fn upper(&self, row: usize, column: usize) -> f32 {
        let last = self.inverse.nrows() - 1;
        self.inverse[(last - row, last - column)]
    }

    /// `trace(W H W^T)` for `w`, the columns of `W` in the factor's order, `[in_features, out_features]` row-major: the sum of squares of the
    /// layer's outputs, but for a constant.
    pub(crate) fn energy(&self, w: &[f32], outputs: usize) -> f64 {
        let n = self.lower.nrows();
        let mut energy = 0.0;
        for first in (0..outputs).step_by(CHUNK) {
            let width = CHUNK.min(outputs - first);
            let part = Mat::from_fn(width, n, |output, input| w[(n - 1 - input) * outputs + first + output]);
            let mut product = Mat::zeros(width, n);
            triangular::matmul(
                &mut product,
                BlockStructure::Rectangular,
                Accum::Replace,
                &part,
                BlockStructure::Rectangular,
                &self.lower,
                BlockStructure::TriangularLower,
                1.0,
                par(),
            );
            energy += f64::from(product.squared_norm_l2());
        }
        energy
    }
}

/// `c -= a^T b` for `a` `[depth, rows]`, `b` `[depth, columns]`, `c` `[rows, columns]`, row-major.
pub(crate) fn subtract_product(c: &mut [f32], a: &[f32], b: &[f32], depth: usize, columns: usize) {
    let rows = a.len() / depth;
    let a = MatRef::from_row_major_slice(a, depth, rows);
    let b = MatRef::from_row_major_slice(b, depth, columns);
    let c = faer::MatMut::from_row_major_slice_mut(c, rows, columns);
    matmul(c, Accum::Add, a.transpose(), b, -1.0, par());
}

/// The current rayon pool.
fn par() -> Par {
    Par::rayon(0)
}
