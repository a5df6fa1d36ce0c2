//! Records of counted pages compared with what they were: the page before the one at hand, the record that two pages share.

use super::order::{Doubt, MAX_TRIES};
use super::{Fetched, Held, PartitionPages, RestError};
use crate::model::offset::PageCursor;
use crate::net::judge::Verdict;
use crate::record::identity;
use crate::record::page::Page;

impl PartitionPages {
    /// Takes the page before the one at hand, asked for once more.
    pub(super) fn compare(&mut self, fetched: Fetched) -> Result<Option<Page>, RestError> {
        let held = match fetched {
            Ok(held) => held,
            Err(error) if self.is_end(&error) => return Err(self.shifted(self.other_records())),
            Err(error) if error.verdict() == Some(Verdict::Skip) => {
                // A page that a rule leaves out cannot be compared with anything.
                self.run.watch.mistrusted = None;
                return self.believe(None);
            }
            Err(error) => return Err(self.failed(error)),
        };
        let (answer, content) = &held;
        // What has come behind the records that were read of it is no shift.
        let read = self.at.tail.as_deref().and_then(identity::count_of).unwrap_or(0);
        let identity = self.reader.spec.identity.clone().unwrap_or_default();
        let found = identity.page(content.raw_records(answer).take(read));
        let records = content.located.records.len();
        let again = Some(found.tail(read.min(records)));
        if again != self.at.tail && self.is_volatile(&held, self.other_records())? {
            return Ok(None);
        }
        self.run.watch.mistrusted = None;
        self.run.watch.grew = records > read && again == self.at.tail;
        // The page after it goes on where this answer ends.
        self.run.watch.keys.add(&found.keys);
        if self.run.last.is_none() {
            // What a run that was not interrupted would know by now.
            self.run.last = Some(records as u64);
            self.run.largest = self.run.largest.max(self.reader.spec.pager.size().unwrap_or(0));
        }
        let total = self.total_of(&held);
        self.believe(total)
    }

    /// The page before the one at hand stands where it stood, and said that there are `total` records.
    fn believe(&mut self, total: Option<u64>) -> Result<Option<Page>, RestError> {
        let Doubt::Before(held) = std::mem::take(&mut self.doubt) else { return Ok(None) };
        let Some(held) = held else {
            self.run.total = total.or(self.run.total);
            return Ok(None);
        };
        let moved = total.zip(self.total_of(&held)).is_some_and(|(before, now)| before != now);
        if moved && self.run.watch.restless < MAX_TRIES {
            if self.run.watch.tries < MAX_TRIES {
                self.run.watch.tries += 1;
                return self.wonder(Doubt::Again);
            }
            // A total that is another one in each answer is none.
            self.run.watch.restless += 1;
            if self.run.watch.restless == MAX_TRIES {
                let note =
                    "the number of records that the source says differs from answer to answer: it shows no shifts";
                self.reader.fetcher.stats.note(self.reader.stream.as_str(), note.to_owned());
            }
        }
        self.run.watch.tries = 0;
        self.turn(*held).map(Some)
    }

    /// Whether records are others than expected only because they change with each answer, as records without a key may.
    /// They are asked for a second time to see it; true where that is still to be done.
    fn is_volatile(&mut self, (answer, content): &Held, shift: String) -> Result<bool, RestError> {
        if self.reader.spec.keyed {
            return Err(self.shifted(shift));
        }
        let records: Vec<u32> = content.raw_records(answer).map(crc32c::crc32c).collect();
        match self.run.watch.mistrusted.take() {
            None => {
                self.run.watch.mistrusted = Some(records);
                self.window.drop_unless_front(&PageCursor::End);
                Ok(true)
            }
            // Records that move have neighbours that are still the same.
            Some(before)
                if records.is_empty() || before.is_empty() || before.iter().any(|one| records.contains(one)) =>
            {
                Err(self.shifted(format!("{shift} (if records change by themselves, set `primary_key`)")))
            }
            Some(_) => {
                let note = format!(
                    "records change with each answer: without `{}.primary_key` nothing shows whether pages shift",
                    self.here()
                );
                self.reader.fetcher.stats.note(self.reader.stream.as_str(), note);
                self.run.watch.blind = true;
                Ok(false)
            }
        }
    }

    /// Whether the page has to be asked for again, because it does not begin with the last record of the one before it.
    pub(super) fn is_other(&mut self, held: &Held) -> Result<bool, RestError> {
        let first = held.1.identities.first.as_ref();
        if self.run.watch.blind || self.at.tail.is_none() || first == self.at.tail.as_ref() {
            self.run.watch.mistrusted = None;
            return Ok(false);
        }
        let page = self.at.pages + 1;
        self.is_volatile(held, format!("page {page} does not begin with the last record of the page before it"))
    }
}
