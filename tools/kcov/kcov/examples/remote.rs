// SPDX-License-Identifier: GPL-2.0
//! Collects the kernel's work for the first USB buses for some seconds.

use std::io::Write;
use std::time::Duration;

use kcov::{CommonHandle, Pc, RemoteHandles, UsbBus};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    let seconds = std::env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let mut handles = RemoteHandles::new(64 << 10).common(CommonHandle::new(0x42).ok_or("no handle")?);
    for bus in 1..=4 {
        handles = handles.usb(UsbBus(bus))?;
    }
    let mut kcov = kcov::Device::open()?.with_buffer(1 << 20)?;
    let collection = kcov.collect_remote::<Pc>(&handles)?;
    std::thread::sleep(Duration::from_secs(seconds));
    for pc in &collection.stop()? {
        writeln!(out, "{pc:#x}")?;
    }
    Ok(())
}
