//! The keys of the files of one load.
//!
//! What is written in YAML is little and kept. Of a file of lines only the means to read it again are.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::compile::LinesFile;
use super::tree::Position;
use crate::client::Client;
use crate::keys::{KeyRecord, KeyRecords, Records, Rewritten, StateCounts, note_record};

/// Keys, in the order in which they were written, and their clients.
#[derive(Debug, Default)]
pub struct LoadedKeys {
    pub(super) parts: Vec<Part>,
    /// Ordered by id.
    pub(super) clients: Vec<Arc<Client>>,
    pub(super) count: usize,
    pub(super) counts: StateCounts,
}

/// Keys that were written together.
#[derive(Debug)]
pub(super) enum Part {
    /// In YAML.
    Written(Vec<(Position, KeyRecord)>),
    /// As lines.
    Lines(LinesFile),
}

/// A key and where it was written.
pub(super) type Placed<'k> = Result<(Position, Cow<'k, KeyRecord>), Rewritten>;

impl LoadedKeys {
    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The clients, those without a key too, ordered by id.
    #[must_use]
    pub fn clients(&self) -> &[Arc<Client>] {
        &self.clients
    }

    /// The keys by what they were good for when they were loaded.
    #[must_use]
    pub fn counts(&self) -> StateCounts {
        self.counts
    }

    /// All records at once, where they are known to be few.
    ///
    /// # Errors
    /// A file has changed since it was loaded.
    pub fn read_all(&self) -> Result<Vec<KeyRecord>, Rewritten> {
        self.records().map(|record| record.map(Cow::into_owned)).collect()
    }

    /// Where the keys of these numbers were written, as far as that can still be told.
    pub(super) fn places(&self, numbers: &HashSet<usize>) -> HashMap<usize, Position> {
        let Some(last) = numbers.iter().max() else { return HashMap::new() };
        let placed = self.placed().take(last + 1).enumerate();
        placed
            .filter_map(|(number, placed)| Some((number, placed.ok()?.0)))
            .filter(|(n, _)| numbers.contains(n))
            .collect()
    }

    fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        let client = |id: &str| {
            let found = self.clients.binary_search_by(|client| client.id.as_str().cmp(id)).ok()?;
            Some(Arc::clone(&self.clients[found]))
        };
        placed(&self.parts, client)
    }
}

/// The keys of some parts one by one, with clients by their ids.
pub(super) fn placed<'k>(
    parts: &'k [Part],
    client: impl Fn(&str) -> Option<Arc<Client>> + Copy + 'k,
) -> impl Iterator<Item = Placed<'k>> {
    parts.iter().flat_map(move |part| -> Box<dyn Iterator<Item = Placed<'k>> + 'k> {
        match part {
            Part::Written(records) => Box::new(records.iter().map(|(at, record)| Ok((*at, Cow::Borrowed(record))))),
            Part::Lines(file) => {
                Box::new(file.records(client).map(|again| again.map(|(at, record)| (at, Cow::Owned(record)))))
            }
        }
    })
}

impl KeyRecords for LoadedKeys {
    fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for part in &self.parts {
            match part {
                Part::Written(records) => records.iter().for_each(|(_, record)| note_record(&mut hasher, record)),
                Part::Lines(file) => file.note(&mut hasher),
            }
        }
        hasher.finalize().into()
    }

    fn records(&self) -> Records<'_> {
        Box::new(self.placed().map(|placed| placed.map(|(_, record)| record)))
    }
}
