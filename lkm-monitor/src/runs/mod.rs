//! What one run of the daemon leaves on record for the next: a run that is killed cannot tell of it, its successor can.

mod record;
mod recorder;
mod this_run;

pub use record::RecordError;
pub use recorder::Recorder;
