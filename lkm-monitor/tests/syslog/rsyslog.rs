//! rsyslog, of Debian's packages `rsyslog` and `rsyslog-openssl`.

use std::process::Command;

use crate::program::{Client, MARK, Order, Program, Tls};

pub(crate) const RSYSLOG: Program = Program { name: "rsyslogd", config, command };

fn config(order: &Order) -> String {
    let fields = [
        "%syslogfacility-text%.%syslogseverity-text% %hostname% %app-name% %msgid%",
        "%timereported:::date-rfc3339%",
        "%structured-data%",
        "%msg%",
    ];
    let (files, driver) = order.tls.as_ref().map(tls).unwrap_or_default();
    format!(
        r#"
        global(workDirectory="{work}" maxMessageSize="{max_bytes}" {files})
        module(load="imtcp" {driver})
        template(name="fields" type="string" string="{template}\n")
        ruleset(name="all") {{ action(type="omfile" file="{output}" template="fields") }}
        input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")
        "#,
        work = order.path(""),
        max_bytes = order.max_bytes,
        template = fields.join(MARK),
        output = order.output(),
        port = order.port,
    )
}

/// What says so for all inputs, and for those over TCP.
fn tls(tls: &Tls) -> (String, String) {
    let Tls { authority, certificate, key, client } = tls;
    let files = format!(
        r#"defaultNetstreamDriverCAFile="{authority}" defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}""#
    );
    let mode = match client {
        Client::Anybody => "anon",
        Client::WithCertificate => "x509/certvalid",
    };
    (files, format!(r#"streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="{mode}""#))
}

fn command(order: &Order) -> Command {
    let mut command = Command::new("rsyslogd");
    command.args(["-n", "-f", &order.config(), "-i", &order.path("pid")]);
    command
}
