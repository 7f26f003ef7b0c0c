//! The end, when all is said.

use std::time::Instant;

use super::carriers::Carriers;
use crate::output::{Output, OutputError};

/// Waits until documents are durable and, as far as that goes until `deadline`, delivered. Only then `put_on_record` says that the run was
/// stopped: one that is killed before may have taken documents with it, and its successor tells.
pub(super) fn finish(
    output: Output,
    carriers: Option<Carriers>,
    deadline: Instant,
    put_on_record: impl FnOnce(),
) -> Result<(), OutputError> {
    output.finish(deadline)?;
    if let Some(carriers) = carriers {
        carriers.finish(deadline);
    }
    put_on_record();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use super::*;
    use crate::{
        alert::Document,
        model::Class,
        output::{Priority, Target},
    };

    /// Notes that it took documents, or fails.
    struct Noting(Arc<Mutex<Vec<&'static str>>>, bool);

    impl Target for Noting {
        fn take(&mut self, documents: &mut Vec<Document>) -> std::io::Result<()> {
            documents.clear();
            if self.1 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0.lock().unwrap().push("taken");
            Ok(())
        }
    }

    fn finished(fails: bool) -> (bool, Vec<&'static str>) {
        let done = Arc::new(Mutex::new(Vec::new()));
        let output = Output::start(Noting(Arc::clone(&done), fails)).unwrap();
        output.send(
            Document { id: String::new(), class: Class::Low, happened_ms: 0, line: b"{}".to_vec() },
            Priority::Reserved,
        );
        let deadline = Instant::now() + Duration::from_secs(60);
        let result = finish(output, None, deadline, || done.lock().unwrap().push("on record"));
        let done = done.lock().unwrap().clone();
        (result.is_ok(), done)
    }

    #[test]
    fn a_run_is_on_record_as_stopped_when_its_documents_are_taken_and_not_before() {
        assert_eq!(finished(false), (true, vec!["taken", "on record"]));
        assert_eq!(finished(true), (false, vec![]));
    }
}
