//! What only `tests/vectors` uses.

use crate::{
    bytes::Reader,
    error::{FieldName, Message, Result},
};

use super::{TargetInfo, Version};

impl<'a> TargetInfo<'a> {
    /// The bytes behind MsvAvEOL.
    #[must_use]
    pub const fn after_eol(&self) -> &'a [u8] {
        self.after_eol
    }
}

impl Version {
    /// ProductMajorVersion and ProductMinorVersion.
    #[must_use]
    pub const fn product(self) -> (u8, u8) {
        let [major, minor, ..] = self.0;
        (major, minor)
    }

    /// ProductBuild.
    #[must_use]
    pub const fn build(self) -> u16 {
        let [_, _, low, high, ..] = self.0;
        u16::from_le_bytes([low, high])
    }
}

/// Single_Host_Data, [MS-NLMP] 2.2.2.2: the value of MsvAvSingleHost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SingleHost {
    /// The length of the whole in bytes. It has 48, but senders write other numbers.
    pub size: u32,
    /// Z4, which should be 0.
    pub z4: u32,
    /// CustomData.
    pub custom_data: [u8; 8],
    /// MachineID: new after each boot of the sender.
    pub machine_id: [u8; 32],
}

impl SingleHost {
    /// Reads the structure in `bytes`.
    ///
    /// # Errors
    /// When there are fewer than 48 bytes; the error names `field` of `message`.
    pub fn decode(message: Message, field: FieldName, bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(message, bytes);
        Ok(Self {
            size: reader.u32(field)?,
            z4: reader.u32(field)?,
            custom_data: reader.array(field)?,
            machine_id: reader.array(field)?,
        })
    }
}
