//! Looks for planted bytes wherever a program could have left them: its files, its log, its memory (law 10).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Memory is read in pieces of this size; neighbours overlap by the longest canary.
const PIECE_BYTES: usize = 4 << 20;

/// Something planted, and each form in which it could be left behind.
#[derive(Debug, Clone)]
pub struct Canary {
    /// What it is, for messages.
    pub name: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    /// Bytes, raw, as hexadecimal digits in both cases and as base64.
    pub fn new(name: &'static str, bytes: &[u8]) -> Self {
        use base64::Engine;
        let hexadecimal = hex::encode(bytes);
        let engines =
            [&base64::engine::general_purpose::STANDARD_NO_PAD, &base64::engine::general_purpose::URL_SAFE_NO_PAD];
        // The last base64 digit may depend on what follows, so it is left out.
        let encoded = engines.map(|engine| {
            let text = engine.encode(bytes);
            text.as_bytes()[..text.len() - 1].to_vec()
        });
        let mut forms = vec![bytes.to_vec(), hexadecimal.to_uppercase().into_bytes(), hexadecimal.into_bytes()];
        forms.extend(encoded);
        forms.dedup();
        Self { name, forms }
    }

    fn is_in(&self, haystack: &[u8]) -> bool {
        self.forms.iter().any(|form| memchr::memmem::find(haystack, form).is_some())
    }

    fn longest(&self) -> usize {
        self.forms.iter().map(Vec::len).max().unwrap_or_default()
    }
}

/// The files below a folder, or the one file, that hold the canary.
pub fn files_with(place: &Path, canary: &Canary) -> Result<Vec<PathBuf>> {
    if place.is_dir() {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(place)? {
            found.extend(files_with(&entry?.path(), canary)?);
        }
        return Ok(found);
    }
    let bytes = std::fs::read(place).with_context(|| format!("cannot read {}", place.display()))?;
    Ok(if canary.is_in(&bytes) { vec![place.to_owned()] } else { Vec::new() })
}

/// Whether the writable memory of a running process holds the canary.
pub fn memory_holds(pid: u32, canary: &Canary) -> Result<bool> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut memory = File::open(format!("/proc/{pid}/mem")).context("may this user read its children's memory?")?;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').context("a range of addresses")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        if region_holds(&mut memory, start, end, canary)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn region_holds(memory: &mut File, start: u64, end: u64, canary: &Canary) -> Result<bool> {
    let overlap = canary.longest();
    let mut window: Vec<u8> = Vec::new();
    memory.seek(SeekFrom::Start(start))?;
    let mut left = usize::try_from(end - start)?;
    while left > 0 {
        let kept = window.len().min(overlap);
        window.drain(..window.len() - kept);
        let piece = left.min(PIECE_BYTES);
        window.resize(kept + piece, 0);
        // A page may have been given back since the list of regions was read: then there is nothing in it.
        let Ok(read) = memory.read(&mut window[kept..]) else { return Ok(false) };
        if read == 0 {
            return Ok(false);
        }
        window.truncate(kept + read);
        if canary.is_in(&window) {
            return Ok(true);
        }
        left -= read;
    }
    Ok(false)
}
