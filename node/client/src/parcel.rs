//! What is sent, before it is sealed: items hashed and counted, and the body of each packet read when its turn comes, so
//! that a large file never stands in memory.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use minus_protocol::random_bytes;

use crate::assemble::hash_file;
use crate::content::{Content, FilePart, PART_BYTES, part_count};
use crate::error::Error;
use crate::file_name::{NAME_BYTES_MAX, sanitise};

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A short text.
    Text(String),
    /// A file.
    File(PathBuf),
}

/// An item, hashed and counted.
#[derive(Debug, Clone)]
pub(crate) enum Planned {
    Text(String),
    File(PlannedFile),
}

#[derive(Debug, Clone)]
pub(crate) struct PlannedFile {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) sha256: [u8; 32],
    pub(crate) file_id: [u8; 16],
    pub(crate) count: u32,
}

/// One packet to be.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) item: usize,
    pub(crate) index: u32,
    pub(crate) planned: Arc<Vec<Planned>>,
}

pub(crate) fn plan(items: Vec<Item>) -> Result<Vec<Planned>, Error> {
    if items.is_empty() {
        return Err(Error::Usage("there is nothing to send: name files, or give --text".to_owned()));
    }
    items
        .into_iter()
        .map(|item| match item {
            Item::Text(text) => {
                Content::text(text.as_str())?;
                Ok(Planned::Text(text))
            }
            Item::File(path) => plan_file(path).map(Planned::File),
        })
        .collect()
}

fn plan_file(path: PathBuf) -> Result<PlannedFile, Error> {
    let file_error = |source| Error::File { path: path.clone(), source };
    let metadata = std::fs::metadata(&path).map_err(file_error)?;
    if !metadata.is_file() {
        return Err(Error::Usage(format!("{} is not a file; pack a directory into one first", path.display())));
    }
    let size = metadata.len();
    let count = part_count(size)?;
    let sha256 = hash_file(&path).map_err(file_error)?;
    let given = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = sanitise(&given);
    debug_assert!(name.len() <= NAME_BYTES_MAX + 1, "a sanitised name is short");
    let modified = metadata.modified().ok();
    Ok(PlannedFile { path, name, size, modified, sha256, file_id: random_bytes(), count })
}

pub(crate) fn jobs(planned: &Arc<Vec<Planned>>) -> Vec<Job> {
    let parts = |planned: &Planned| match planned {
        Planned::Text(_) => 1,
        Planned::File(file) => file.count,
    };
    let indices = planned.iter().enumerate().flat_map(|(item, one)| (0..parts(one)).map(move |index| (item, index)));
    indices.map(|(item, index)| Job { item, index, planned: Arc::clone(planned) }).collect()
}

impl Job {
    /// The packet's body, and how many bytes of the item are in it.
    pub(crate) fn body(&self) -> Result<(Bytes, u64), Error> {
        let (content, bytes) = match &self.planned[self.item] {
            Planned::Text(text) => (Content::text(text.as_str())?, text.len()),
            Planned::File(file) => {
                let bytes =
                    file.read_part(self.index).map_err(|source| Error::File { path: file.path.clone(), source })?;
                let length = bytes.len();
                let part = FilePart {
                    file_id: file.file_id,
                    name: file.name.clone(),
                    size: file.size,
                    sha256: file.sha256,
                    index: self.index,
                    count: file.count,
                    bytes,
                };
                (Content::FilePart(part), length)
            }
        };
        Ok((content.encode().into(), u64::try_from(bytes).unwrap_or(u64::MAX)))
    }
}

impl Planned {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
            Self::File(file) => file.size,
        }
    }

    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        let Self::File(file) = self else { return Ok(()) };
        let now = std::fs::metadata(&file.path).map_err(|source| Error::File { path: file.path.clone(), source })?;
        if now.len() != file.size || now.modified().ok() != file.modified {
            return Err(changed(&file.path));
        }
        Ok(())
    }
}

impl PlannedFile {
    fn read_part(&self, index: u32) -> std::io::Result<Vec<u8>> {
        let part_bytes = u64::try_from(PART_BYTES).unwrap_or(u64::MAX);
        let offset = u64::from(index) * part_bytes;
        let length = part_bytes.min(self.size.saturating_sub(offset));
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn changed(path: &Path) -> Error {
    let source =
        std::io::Error::other("the file changed while it was sent; the recipient will discard it, send it again");
    Error::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use alloy::primitives::Address;
    use alloy::signers::local::PrivateKeySigner;
    use minus_bindings::routing_domain;
    use minus_protocol::{Outgoing, SealingSecret, seal};

    use super::*;

    #[test]
    fn refuses_nothing_directories_and_missing_files() {
        assert!(matches!(plan(Vec::new()), Err(Error::Usage(_))));
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(plan(vec![Item::File(directory.path().to_owned())]), Err(Error::Usage(_))));
        assert!(matches!(plan(vec![Item::File(directory.path().join("none"))]), Err(Error::File { .. })));
    }

    #[test]
    fn notices_a_file_that_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let planned = plan(vec![Item::File(path.clone())]).unwrap();
        planned[0].check_unchanged().unwrap();
        std::fs::write(&path, "three").unwrap();
        assert!(planned[0].check_unchanged().is_err());
    }

    #[test]
    fn a_full_part_with_the_longest_name_fits_256_kib() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n".repeat(NAME_BYTES_MAX));
        std::fs::write(&path, vec![0xff; PART_BYTES + 1]).unwrap();
        let planned = Arc::new(plan(vec![Item::File(path)]).unwrap());
        let jobs = jobs(&planned);
        assert_eq!(jobs.len(), 2);
        let (body, bytes) = jobs[0].body().unwrap();
        assert_eq!(bytes, u64::try_from(PART_BYTES).unwrap());

        let signer = PrivateKeySigner::from_slice(&[3; 32]).unwrap();
        let outgoing = Outgoing { id: [0xff; 16], sent_at_ms: u64::MAX, body: &body };
        let key = SealingSecret::derive(&[4; 32]).public();
        let domain = routing_domain(1, Address::repeat_byte(1));
        let packet = seal(&outgoing, Address::repeat_byte(2), &key, &signer, &domain).unwrap();
        assert!(packet.len() <= 256 * 1024, "{}", packet.len());
        // And no smaller part would have had a bucket to itself.
        assert!(packet.len() > 252 * 1024, "{}", packet.len());
    }
}
