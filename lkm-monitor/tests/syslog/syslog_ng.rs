//! syslog-ng, of Debian's package `syslog-ng-core`. It cannot be installed beside rsyslog, so it runs from where it was unpacked.

use std::{env, fs, path::Path, process::Command};

use crate::program::{Client, MARK, Order, Program, Tls};

pub(crate) const SYSLOG_NG: Program = Program { name: "syslog-ng", config, command };

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/syslog-ng");
const LIBRARIES: [&str; 3] = ["usr/lib/syslog-ng", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

fn config(order: &Order) -> String {
    let fields =
        ["$FACILITY.$LEVEL $HOST $PROGRAM $MSGID", "$YEAR-$MONTH-${DAY}T$HOUR:$MIN:$SEC.${USEC}Z", "$SDATA", "$MSG"];
    let transport = order.tls.as_ref().map_or_else(|| "transport(\"tcp\")".to_owned(), tls);
    format!(
        r#"@version: current
        options {{ keep-hostname(yes); use-dns(no); dns-cache(no); time-zone("+00:00"); log-msg-size({max_bytes}); }};
        source sensors {{ syslog(ip("127.0.0.1") port({port}) {transport}); }};
        destination file {{ file("{output}" template("{template}\n")); }};
        log {{ source(sensors); destination(file); flags(flow-control); }};
        "#,
        max_bytes = order.max_bytes,
        port = order.port,
        output = order.output(),
        template = fields.join(MARK),
    )
}

fn tls(tls: &Tls) -> String {
    let Tls { authority, certificate, key, client } = tls;
    let peer = match client {
        Client::Anybody => "optional-untrusted",
        Client::WithCertificate => "required-trusted",
    };
    format!(
        r#"transport("tls") tls(cert-file("{certificate}") key-file("{key}") ca-file("{authority}") peer-verify({peer}))"#
    )
}

fn command(order: &Order) -> Command {
    let root = Path::new(ROOT);
    let libraries = env::join_paths(LIBRARIES.map(|folder| root.join(folder))).unwrap();
    // They are in a folder that is named after the version.
    let within = fs::read_dir(root.join("usr/lib/syslog-ng")).into_iter().flatten().flatten();
    let modules = within.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap_or_default();
    let mut command = Command::new(root.join("usr/sbin/syslog-ng"));
    command.env("LD_LIBRARY_PATH", libraries).arg("--module-path").arg(modules);
    command.args(["--foreground", "--stderr", "--no-caps", "--cfgfile", &order.config()]);
    command.args(["--persist-file", &order.path("persist"), "--control", &order.path("control")]);
    command.args(["--pidfile", &order.path("pid")]);
    command
}
