//! Batches, prefetched on background threads.

use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use limbeck_graph::Seed;
use rand::seq::SliceRandom;

use super::{Batch, Dataset, Normalization, View};
use crate::{Error, Result};

/// What a [`Loader`] does with the rows of a set.
#[derive(Clone, Debug)]
pub struct LoaderSettings {
    /// Rows per batch.
    pub batch: usize,
    /// The run seed: order and views follow from it.
    pub seed: Seed,
    /// The augmentation.
    pub view: View,
    /// The normalisation, applied last.
    pub normalization: Normalization,
    /// A new order every epoch; otherwise the set's order.
    pub shuffle: bool,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    /// How many batches may wait ready; 0 makes each batch when it is asked for, on the calling thread. Up to as many
    /// threads work ahead, at most half of the machine's.
    pub prefetch: usize,
}

impl Default for LoaderSettings {
    /// 64 rows in the set's order, unchanged pixels in 0..1, four batches ahead.
    fn default() -> Self {
        Self {
            batch: 64,
            seed: Seed::new(0),
            view: View::none(),
            normalization: Normalization::none(),
            shuffle: false,
            drop_last: false,
            prefetch: 4,
        }
    }
}

/// Turns a set into batches, epoch by epoch.
#[derive(Clone, Debug)]
pub struct Loader {
    dataset: Arc<dyn Dataset>,
    settings: Arc<LoaderSettings>,
}

impl Loader {
    /// Checks that the settings fit the set.
    ///
    /// # Errors
    /// If the batch is 0, the set empty, the normalisation for another number of channels, or, where rows are shuffled or
    /// the last batch is dropped, the batch larger than the set.
    pub fn new(dataset: Arc<dyn Dataset>, settings: LoaderSettings) -> Result<Self> {
        let name = &dataset.info().name;
        if settings.batch == 0 {
            return Err(Error::Range {
                name: "batch size",
                expected: "at least 1",
                got: 0.0,
            });
        }
        if dataset.is_empty() {
            return Err(Error::Data(format!("data set `{name}` holds no rows")));
        }
        if (settings.shuffle || settings.drop_last) && settings.batch > dataset.len() {
            return Err(Error::Data(format!(
                "the batch size {} is larger than the {} rows of data set `{name}`; choose a smaller batch",
                settings.batch,
                dataset.len()
            )));
        }
        settings.normalization.check(dataset.info().shape[0])?;
        Ok(Self {
            dataset,
            settings: Arc::new(settings),
        })
    }

    /// The set.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// The settings.
    pub fn settings(&self) -> &LoaderSettings {
        &self.settings
    }

    /// The number of batches in every epoch.
    pub fn batches_per_epoch(&self) -> usize {
        if self.settings.drop_last {
            self.dataset.len() / self.settings.batch
        } else {
            self.dataset.len().div_ceil(self.settings.batch)
        }
    }

    /// The batches of an epoch from number `first_batch` on; they are the same wherever one starts.
    ///
    /// After an error the iterator ends. Dropping it stops the threads.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Batches {
        let order = self.settings.shuffle.then(|| {
            let mut order: Vec<usize> = (0..self.dataset.len()).collect();
            order.shuffle(&mut self.settings.seed.stream("shuffle", &[epoch]));
            order
        });
        let plan = Arc::new(Plan {
            dataset: Arc::clone(&self.dataset),
            settings: Arc::clone(&self.settings),
            epoch,
            order,
        });
        let end = self.batches_per_epoch();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = self.settings.prefetch.min((cores / 2).max(1));
        Batches::start(plan, first_batch.min(end), end, threads)
    }
}

/// Everything that determines the batches of one epoch.
struct Plan {
    dataset: Arc<dyn Dataset>,
    settings: Arc<LoaderSettings>,
    epoch: u64,
    order: Option<Vec<usize>>,
}

impl Plan {
    fn batch(&self, index: usize) -> Result<Batch> {
        let Self {
            dataset,
            settings,
            epoch,
            order,
        } = self;
        let shape = dataset.info().shape;
        let size: usize = shape.iter().product();
        let start = index * settings.batch;
        let end = (start + settings.batch).min(dataset.len());
        let mut inputs = vec![0.0; (end - start) * size];
        let mut ids = Vec::with_capacity(end - start);
        let mut labels = Vec::with_capacity(end - start);
        for (position, input) in (start..end).zip(inputs.chunks_exact_mut(size)) {
            let row = order.as_ref().map_or(position, |order| order[position]);
            let sample = dataset.sample(row)?;
            if sample.image.shape() != shape {
                return Err(Error::Shape {
                    what: format!("row {row} of data set `{}`", dataset.info().name),
                    expected: format!("{shape:?}"),
                    got: format!("{:?}", sample.image.shape()),
                });
            }
            let image = settings
                .view
                .apply(sample.image, settings.seed, *epoch, sample.id);
            settings.normalization.write(&image, input);
            ids.push(sample.id);
            labels.push(sample.label);
        }
        let labels = labels.into_iter().collect();
        Ok(Batch {
            epoch: *epoch,
            index,
            ids,
            inputs,
            shape,
            labels,
        })
    }
}

/// The batches of one epoch, in order.
pub struct Batches {
    plan: Arc<Plan>,
    first: usize,
    next: usize,
    end: usize,
    workers: Vec<Worker>,
}

struct Worker {
    batches: Receiver<Result<Batch>>,
    thread: JoinHandle<()>,
}

impl Batches {
    /// Thread `i` of `n` makes every `n`-th batch from `first + i` on, and its channel bounds how far it runs ahead.
    fn start(plan: Arc<Plan>, first: usize, end: usize, threads: usize) -> Self {
        let mut workers = Vec::new();
        let threads = threads.min(end - first);
        for thread in 0..threads {
            let waiting = (plan.settings.prefetch / threads).max(1);
            let (sender, batches) = sync_channel(waiting);
            let plan = Arc::clone(&plan);
            let spawned = std::thread::Builder::new()
                .name(format!("loader-{thread}"))
                .spawn(move || {
                    for index in (first + thread..end).step_by(threads) {
                        let batch = plan.batch(index);
                        let failed = batch.is_err();
                        if sender.send(batch).is_err() || failed {
                            break;
                        }
                    }
                });
            match spawned {
                Ok(thread) => workers.push(Worker { batches, thread }),
                // Without threads the work is done by the caller.
                Err(_) => {
                    workers.clear();
                    break;
                }
            }
        }
        Self {
            plan,
            first,
            next: first,
            end,
            workers,
        }
    }

    fn stop(&mut self) {
        self.next = self.end;
        for Worker { batches, thread } in self.workers.drain(..) {
            drop(batches);
            // A panic was already reported as the missing batch.
            let _ = thread.join();
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let batch = if self.workers.is_empty() {
            self.plan.batch(index)
        } else {
            let worker = &self.workers[(index - self.first) % self.workers.len()];
            worker.batches.recv().unwrap_or_else(|_| {
                Err(Error::Data(format!(
                    "the loader stopped while it made batch {index}"
                )))
            })
        };
        if batch.is_err() {
            self.stop();
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl FusedIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches")
            .field("epoch", &self.plan.epoch)
            .field("next", &self.next)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{Change, DatasetInfo, Fill, Sample, SampleId, Split, digits, open};
    use super::*;

    fn settings(batch: usize, prefetch: usize) -> LoaderSettings {
        LoaderSettings {
            batch,
            seed: Seed::new(11),
            view: View::new(vec![
                Change::Crop { padding: 1 },
                Change::Erase {
                    probability: 0.5,
                    area: [0.1, 0.3],
                    aspect: 0.5,
                    fill: Fill::Noise,
                },
            ])
            .unwrap(),
            shuffle: true,
            prefetch,
            ..LoaderSettings::default()
        }
    }

    fn batches(settings: LoaderSettings, epoch: u64, first: usize) -> Vec<Batch> {
        let loader = Loader::new(open("digits", Split::Train).unwrap(), settings).unwrap();
        loader.epoch(epoch, first).map(Result::unwrap).collect()
    }

    #[test]
    fn threads_do_not_matter_and_resuming_gives_the_same_batches() {
        let here = batches(settings(100, 0), 3, 0);
        assert_eq!(here.len(), 13);
        assert_eq!(here[12].ids.len(), 97);
        assert_eq!(here, batches(settings(100, 5), 3, 0));
        assert_eq!(here[7..], batches(settings(100, 3), 3, 7));
        assert!(batches(settings(100, 3), 3, 13).is_empty());
        assert!(batches(settings(100, 3), 3, 99).is_empty());
    }

    #[test]
    fn several_threads_keep_the_order() {
        let loader = Loader::new(digits::all(), settings(10, 8)).unwrap();
        let plan = |prefetch| {
            let plan = loader.epoch(0, 0).plan.clone();
            Batches::start(plan, 5, 180, prefetch)
                .map(Result::unwrap)
                .collect::<Vec<_>>()
        };
        let one = plan(1);
        assert_eq!(one.len(), 175);
        for threads in [2, 3, 7] {
            assert_eq!(one, plan(threads));
        }
    }

    #[test]
    fn rows_do_not_depend_on_the_batch_they_are_in() {
        let rows = |batch| {
            let mut rows = BTreeMap::new();
            for batch in batches(settings(batch, 2), 1, 0) {
                for (id, input) in batch.ids.iter().zip(batch.inputs.chunks_exact(64)) {
                    rows.insert(*id, input.to_vec());
                }
            }
            rows
        };
        assert_eq!(rows(100), rows(7));
    }

    #[test]
    fn an_epoch_is_a_new_order_of_all_rows() {
        let ids = |epoch, seed| {
            let settings = LoaderSettings {
                seed: Seed::new(seed),
                ..settings(50, 2)
            };
            batches(settings, epoch, 0)
                .into_iter()
                .flat_map(|batch| batch.ids)
                .collect::<Vec<_>>()
        };
        let first = ids(0, 1);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 1297);
        assert_eq!(first, ids(0, 1));
        assert_ne!(first, ids(1, 1));
        assert_ne!(first, ids(0, 2));
    }

    #[test]
    fn labels_and_layout_follow_the_rows() {
        let set = open("digits", Split::Test).unwrap();
        let loader = Loader::new(set.clone(), LoaderSettings::default()).unwrap();
        let batch = loader.epoch(0, 2).next().unwrap().unwrap();
        let sample = set.sample(2 * 64 + 5).unwrap();
        assert_eq!(batch.ids[5], sample.id);
        assert_eq!(batch.labels.unwrap()[5], sample.label.unwrap());
        assert_eq!(
            batch.inputs[5 * 64..6 * 64],
            sample.image.pixels.into_unit()
        );
        assert_eq!(batch.shape, [1, 8, 8]);
    }

    /// Counts the rows that were read; row `broken` cannot be.
    struct Counting {
        info: DatasetInfo,
        read: AtomicUsize,
        broken: usize,
    }

    impl Dataset for Counting {
        fn info(&self) -> &DatasetInfo {
            &self.info
        }

        fn len(&self) -> usize {
            1000
        }

        fn id(&self, index: usize) -> SampleId {
            SampleId(index as u64)
        }

        fn label(&self, _: usize) -> Option<u32> {
            None
        }

        fn sample(&self, index: usize) -> Result<Sample> {
            self.read.fetch_add(1, Ordering::SeqCst);
            if index == self.broken {
                return Err(Error::row(
                    std::path::Path::new("some.parquet"),
                    37,
                    "broken",
                ));
            }
            Ok(Sample {
                id: self.id(index),
                ..digits::all().sample(0).unwrap()
            })
        }
    }

    fn counting(broken: usize) -> Arc<Counting> {
        let info = digits::all().info().clone();
        Arc::new(Counting {
            info,
            read: AtomicUsize::new(0),
            broken,
        })
    }

    #[test]
    fn an_error_comes_in_its_place_and_ends_the_epoch() {
        for prefetch in [0, 1, 4] {
            let settings = LoaderSettings {
                batch: 10,
                prefetch,
                ..LoaderSettings::default()
            };
            let loader = Loader::new(counting(37), settings).unwrap();
            let results: Vec<_> = loader.epoch(0, 0).collect();
            assert_eq!(results.len(), 4);
            assert!(results[..3].iter().all(Result::is_ok));
            let error = results[3].as_ref().unwrap_err().to_string();
            assert_eq!(error, "row 37 of `some.parquet`: broken");
        }
    }

    #[test]
    fn the_threads_run_ahead_by_the_prefetch_and_stop_when_dropped() {
        let set = counting(usize::MAX);
        let settings = LoaderSettings {
            batch: 10,
            prefetch: 2,
            ..LoaderSettings::default()
        };
        let loader = Loader::new(set.clone(), settings).unwrap();
        let mut batches = loader.epoch(0, 0);
        batches.next().unwrap().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        // One taken, two waiting, and one in the hands of each thread, of which there are at most two.
        let read = set.read.load(Ordering::SeqCst);
        assert!(read <= 50, "{read} rows were read");
        drop(batches);
        let stopped = set.read.load(Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(set.read.load(Ordering::SeqCst), stopped);
        assert_eq!(Arc::strong_count(&set), 2);
    }

    #[test]
    fn settings_are_checked() {
        let refuse = |settings| {
            Loader::new(digits::all(), settings)
                .unwrap_err()
                .to_string()
        };
        let defaults = LoaderSettings::default;
        assert_eq!(
            refuse(LoaderSettings {
                batch: 0,
                ..defaults()
            }),
            "batch size must be at least 1, got 0"
        );
        assert_eq!(
            refuse(LoaderSettings {
                batch: 1798,
                shuffle: true,
                ..defaults()
            }),
            "the batch size 1798 is larger than the 1797 rows of data set `digits`; choose a smaller batch"
        );
        let normalization = Normalization {
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
        };
        assert_eq!(
            refuse(LoaderSettings {
                normalization,
                ..defaults()
            }),
            "means of the normalisation: expected 1 value, got 3"
        );
        let loader = Loader::new(
            digits::all(),
            LoaderSettings {
                batch: 1798,
                ..defaults()
            },
        )
        .unwrap();
        assert_eq!(loader.batches_per_epoch(), 1);
        let dropping = LoaderSettings {
            batch: 100,
            drop_last: true,
            ..defaults()
        };
        let loader = Loader::new(digits::all(), dropping).unwrap();
        assert_eq!(loader.batches_per_epoch(), 17);
        assert!(
            loader
                .epoch(0, 0)
                .all(|batch| batch.unwrap().ids.len() == 100)
        );
    }
}
