//! Measurements in pairs: ours and the reference by turns, so that what changes slowly on a machine meets both.

use crate::Result;
use serde::Serialize;

/// What the pairs showed.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Pairs {
    pub(crate) ours: Vec<f64>,
    pub(crate) reference: Vec<f64>,
}

/// Median, least and most of the paired ratios.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Pairs {
    /// Measures `count` pairs. Who begins changes from pair to pair.
    pub(crate) fn measure(
        count: usize,
        mut ours: impl FnMut() -> Result<f64>,
        mut reference: impl FnMut() -> Result<f64>,
    ) -> Result<Pairs> {
        let [pairs] = Pairs::measure_each(count, || Ok([ours()?]), || Ok([reference()?]))?;
        Ok(pairs)
    }

    /// The same where a run gives several values.
    pub(crate) fn measure_each<const N: usize>(
        count: usize,
        mut ours: impl FnMut() -> Result<[f64; N]>,
        mut reference: impl FnMut() -> Result<[f64; N]>,
    ) -> Result<[Pairs; N]> {
        let mut all: [Pairs; N] = std::array::from_fn(|_| Pairs::default());
        for pair in 0..count {
            let (our_values, reference_values) = if pair % 2 == 0 {
                let first = ours()?;
                (first, reference()?)
            } else {
                let first = reference()?;
                (ours()?, first)
            };
            for (pairs, (ours, reference)) in all
                .iter_mut()
                .zip(our_values.into_iter().zip(reference_values))
            {
                pairs.ours.push(ours);
                pairs.reference.push(reference);
            }
        }
        Ok(all)
    }

    /// `None` where there is no reference.
    pub(crate) fn ratio(&self) -> Option<Ratio> {
        let pairs = self.ours.iter().zip(&self.reference);
        let ratios: Vec<f64> = pairs.map(|(ours, reference)| ours / reference).collect();
        Some(Ratio {
            median: median(&ratios)?,
            least: ratios.iter().copied().reduce(f64::min)?,
            most: ratios.iter().copied().reduce(f64::max)?,
        })
    }
}

/// The one in the middle; of an even number the mean of the two there.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The value below which this share of all is; 0.5 is the median of many.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().checked_sub(1)?)).copied()
}
