//! What is watched becomes something else.

use super::*;

#[test]
fn what_will_be_watched_is_learned_and_what_is_known_stays() {
    let mut bench = Bench::new();
    let (old, new) = (bench.path("modprobe.d/a.conf"), bench.path("new"));
    fs::write(&old, "blacklist a\n").unwrap();
    fs::write(&new, "blacklist m\n").unwrap();
    bench.remember();
    // Nobody has looked at this yet.
    fs::write(&old, "blacklist b\n").unwrap();

    let known = Known(Arc::clone(&bench.memory));
    let place = bench.path("");
    let with_new =
        move |path: &[u8]| if path.ends_with(b"/new") { Some(Subject::Modprobe) } else { subject(&place, path) };
    let (folders, files) = (vec![bench.path("modprobe.d")], vec![new.clone()]);
    known.learn(&Baseline { folders, files, subject: Box::new(with_new.clone()) });
    known.follow(Box::new(with_new));
    fs::write(&new, "blacklist n\n").unwrap();
    for (name, before) in [("modprobe.d/a.conf", "blacklist a"), ("new", "blacklist m")] {
        let wanted = Look { subject: Subject::Modprobe, ..bench.wanted(name, FileAction::Written) };
        assert_eq!(lines(&bench.look(&wanted).diff.unwrap().removed), before, "{name}");
    }

    // What is not watched any more is not compared with what it was.
    let place = bench.path("");
    known.follow(Box::new(move |path| subject(&place, path)));
    let wanted = Look { subject: Subject::Modprobe, ..bench.wanted("new", FileAction::Written) };
    assert_eq!(bench.look(&wanted).before, None);
}
