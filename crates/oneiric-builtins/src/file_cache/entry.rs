//! One entry as bytes, and the name of its file.
//!
//! The name is a hash of the key, so that no key can name a file outside the directory, be too long
//! for one, or mean the same file as another key where case does not count. The key itself stands in
//! the file and is compared: two keys with one hash cost each other their place, never their value.
//!
//! ```text
//! 0   8  magic, its last byte the version
//! 8   8  checksum of everything after it
//! 16  8  expiry, milliseconds since 1970; all ones for never
//! 24  4  length of the key
//! 28  8  length of the value
//! 36     key, value
//! ```
//! Numbers are little-endian.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"oneiric\x01";
const CHECKED_FROM: usize = 16;
const NEVER: u64 = u64::MAX;
const SUFFIX: &str = ".entry";

pub(super) const HEADER_BYTES: usize = 36;

/// The name of an entry's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EntryName(u128);

impl EntryName {
    pub(super) fn of(key: &str) -> Self {
        Self(fnv1a_128(key.as_bytes()))
    }

    /// `None` for files that are not ours.
    pub(super) fn parse(file_name: &OsStr) -> Option<Self> {
        let digits = file_name.to_str()?.strip_suffix(SUFFIX)?;
        let name = Self(u128::from_str_radix(digits, 16).ok()?);
        // Exactly as we write it: 32 digits, lower case, no sign.
        (OsStr::new(&name.to_string()) == file_name).then_some(name)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{SUFFIX}", self.0)
    }
}

/// What the first bytes of an entry say.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) expires: Option<Duration>,
    checksum: u64,
    key_bytes: usize,
    value_bytes: usize,
}

impl Header {
    /// Reads the header of a file of `file_bytes`; `None` if it is not that of a whole entry.
    pub(super) fn parse(header: &[u8; HEADER_BYTES], file_bytes: u64) -> Option<Self> {
        let (magic, rest) = header.split_first_chunk::<8>()?;
        let (checksum, rest) = rest.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (key_bytes, rest) = rest.split_first_chunk::<4>()?;
        let value_bytes = rest.first_chunk::<8>()?;
        let expires = u64::from_le_bytes(*expires);
        let key_bytes = u32::from_le_bytes(*key_bytes);
        let value_bytes = u64::from_le_bytes(*value_bytes);
        let whole = (HEADER_BYTES as u64 + u64::from(key_bytes)).checked_add(value_bytes)?;
        if *magic != MAGIC || whole != file_bytes {
            return None;
        }
        Some(Self {
            expires: from_ms(expires),
            checksum: u64::from_le_bytes(*checksum),
            key_bytes: usize::try_from(key_bytes).ok()?,
            value_bytes: usize::try_from(value_bytes).ok()?,
        })
    }
}

/// A whole entry, checked.
#[derive(Debug, PartialEq)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    /// Where the value stands in the file.
    pub(super) value: Range<usize>,
    pub(super) expires: Option<Duration>,
}

impl<'a> Entry<'a> {
    /// `None` for bytes that are no entry, or a damaged one.
    pub(super) fn decode(file: &'a [u8]) -> Option<Self> {
        let header = Header::parse(file.first_chunk()?, file.len() as u64)?;
        if fnv1a_64(file.get(CHECKED_FROM..)?) != header.checksum {
            return None;
        }
        let value_at = HEADER_BYTES + header.key_bytes;
        let key = std::str::from_utf8(file.get(HEADER_BYTES..value_at)?).ok()?;
        Some(Self {
            key,
            value: value_at..value_at + header.value_bytes,
            expires: header.expires,
        })
    }

    pub(super) fn is_expired(&self, now: Duration) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// The bytes of an entry; `None` if the key is longer than any key may be.
pub(super) fn encode(key: &str, value: &[u8], expires: Option<Duration>) -> Option<Vec<u8>> {
    let mut file = Vec::with_capacity(HEADER_BYTES + key.len() + value.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&to_ms(expires).to_le_bytes());
    file.extend_from_slice(&u32::try_from(key.len()).ok()?.to_le_bytes());
    file.extend_from_slice(&(value.len() as u64).to_le_bytes());
    file.extend_from_slice(key.as_bytes());
    file.extend_from_slice(value);
    let checksum = fnv1a_64(file.get(CHECKED_FROM..)?);
    file.get_mut(MAGIC.len()..CHECKED_FROM)?
        .copy_from_slice(&checksum.to_le_bytes());
    Some(file)
}

/// What an entry's file will say of `expires`: rounded up, for it must not go before its time.
pub(super) fn round_up(expires: Option<Duration>) -> Option<Duration> {
    from_ms(to_ms(expires))
}

fn to_ms(expires: Option<Duration>) -> u64 {
    expires.map_or(NEVER, |at| {
        u64::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
    })
}

fn from_ms(expires: u64) -> Option<Duration> {
    (expires != NEVER).then(|| Duration::from_millis(expires))
}

// FNV-1a: a few lines, the same in every version of everything. It need not withstand an attacker:
// a chosen collision of names costs a cache entry, and who can write files here can write checksums.
// Source: draft-eastlake-fnv, section 2 and 5.

fn fnv1a_64(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

fn fnv1a_128(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hashes_are_the_published_ones() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fnv1a_128(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(
            fnv1a_128(b"foobar"),
            0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18
        );
    }

    #[test]
    fn only_names_as_we_write_them_are_ours() {
        let ours = EntryName::of("a").to_string();
        assert_eq!(
            EntryName::parse(OsStr::new(&ours)),
            Some(EntryName::of("a"))
        );
        for other in [
            "",
            ".entry",
            "notes.txt",
            "+228cb696f1a8caf78912b704e4a8964.entry",
            &ours.to_uppercase(),
            &ours.replace(".entry", ""),
            &format!("0{ours}"),
            &format!("{ours}.bak"),
        ] {
            assert_eq!(EntryName::parse(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn expiry_is_rounded_up_to_milliseconds() {
        let expires = |at| {
            let file = encode("k", b"", Some(at)).unwrap();
            assert_eq!(Entry::decode(&file).unwrap().expires, round_up(Some(at)));
            round_up(Some(at))
        };
        assert_eq!(
            expires(Duration::from_nanos(1)),
            Some(Duration::from_millis(1))
        );
        assert_eq!(expires(Duration::MAX), None);
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(
            key in "\\PC{1,40}",
            value: Vec<u8>,
            expires in prop::option::of(0_u64..1 << 50),
        ) {
            let expires = expires.map(Duration::from_millis);
            let file = encode(&key, &value, expires).unwrap();
            let entry = Entry::decode(&file).unwrap();
            prop_assert_eq!((entry.key, entry.expires), (key.as_str(), expires));
            prop_assert_eq!(&file[entry.value], value);
        }

        #[test]
        fn one_changed_bit_or_a_cut_is_noticed(
            value in prop::collection::vec(any::<u8>(), 0..40),
            at: prop::sample::Index,
            bit in 0..8,
        ) {
            let whole = encode("key", &value, None).unwrap();
            let mut changed = whole.clone();
            let at = at.index(whole.len());
            changed[at] ^= 1_u8 << bit;
            prop_assert_eq!(Entry::decode(&changed), None);
            prop_assert_eq!(Entry::decode(&whole[..at]), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _any = Entry::decode(&bytes);
        }
    }
}
