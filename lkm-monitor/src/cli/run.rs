//! `lkm-monitor run`: the daemon.

mod carriers;
mod finish;
mod guard;
mod images;
mod integrity;
mod not_started;
mod publish;
mod reload;
mod state;
mod tampering;
mod watches;

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    signal::unix::Signal,
    time::{MissedTickBehavior, interval},
};

use self::{
    carriers::Carriers,
    finish::finish,
    guard::{Heart, LinkWatch},
    integrity::IntegrityWatch,
    publish::Publisher,
    reload::Reloads,
    tampering::TamperWatch,
    watches::{Closes, ToolWatch},
};
use crate::{
    config::{self, Config, InForce, Loaded, RarityConfig, SpoolConfig},
    inspect::{
        self,
        contents::{Baseline, Contents},
    },
    integrity::Scanner,
    lifecycle::{DRAIN, Shutdown, exit, notify::ServiceManager, privileges},
    model::{Agent, Host, InstalledTool, LossReason},
    output::{Lines, Output},
    pipeline::{Counting, Delivery, Pipeline, boot_ns},
    prevalence::{Service, Settings, groups::KeyNames},
    select::{Exclusions, WatchList},
    sensor::{
        attach::{self, AttachError, Programs, State},
        btf::Types,
        kernel::KernelSupport,
        losses::{Counters, Totals},
        recording::Recorder,
        report,
        rings::Rings,
        switches::Switches,
    },
};

/// How often losses are looked for.
const TICK: Duration = Duration::from_millis(500);

/// How long the record may take to be written at the end.
const RECORD: Duration = Duration::from_secs(2);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Write documents to standard output, one JSON object a line, and to nothing else: no spool, no sinks
    #[arg(long)]
    stdout: bool,
    /// With --stdout, write telemetry too: what no rule finds worth an alert
    #[arg(long, requires = "stdout")]
    events: bool,
    /// Write the probes' raw events to this new file, too, for a bug report or to measure. They hold paths and command lines
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Settings to use, and no others [default: /etc/lkm-monitor/config.toml and /etc/lkm-monitor/conf.d/*.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Attaches, watches until SIGTERM or SIGINT, drains, ends.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    // Of one thread, which is this one: privileges are given up below before there are others.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let hangups = reload::hangups(&runtime).context("cannot listen for signals")?;
    let loaded = match config::load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.lines().iter().for_each(|problem| tracing::error!("{problem}"));
            // Other settings may name another spool, which is then no business of the service's.
            if args.config.is_none() && !args.stdout {
                not_started::leave_word(&SpoolConfig::default(), &problems);
            }
            return Ok(ExitCode::from(exit::CONFIG));
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = &loaded.config;
    // Checked when the settings were read.
    let watch_list = config.files.watch_list()?;
    let exclusions = config.files.exclusions()?;
    // Looked for again in a few seconds.
    let tools = inspect::installed_tools().unwrap_or_else(|error| {
        tracing::warn!(%error, "a module tool of this host cannot be read: no copy of one is recognized yet");
        Vec::new()
    });
    let not_the_kernels = inspect::not_the_kernels();
    // The advice goes by what this thread may do, which is less below.
    let types = Types::of_kernel().map_err(AttachError::from);
    let attached = types.and_then(|types| {
        let programs = attach::attach(&types, &config.sensor, watch_list.filter(), &tools)?;
        Ok((programs, integrity::scanner(&config.integrity, &types)))
    });
    let attached = attached.inspect_err(explain);
    // Before there are other threads, which get what this one has.
    let kept = privileges::keep_what_watching_needs();
    let (mut programs, scanner) = match attached {
        Ok(attached) => attached,
        Err(error) => {
            let reasons = std::iter::once(error.to_string());
            let unseen = not_the_kernels.iter().map(|unseen| format!("not seen: {unseen}"));
            not_started::tell(args, config, &reasons.chain(unseen).collect::<Vec<_>>().join("; "));
            return Ok(ExitCode::from(exit::SENSOR_UNAVAILABLE));
        }
    };
    programs.not_the_kernels = not_the_kernels;
    if let Err(error) = kept {
        drop(programs);
        not_started::tell(args, config, &error.to_string());
        return Err(error.into());
    }
    runtime.block_on(watch(args, hangups, (programs, scanner), watch_list, exclusions, tools, loaded))
}

/// Says in the log why nothing can be watched, and what to do about it.
fn explain(error: &AttachError) {
    tracing::error!(%error, "nothing can be watched on this host");
    for advice in KernelSupport::read().advice() {
        tracing::error!("{advice}");
    }
    tracing::error!("`lkm-monitor doctor` explains in full");
}

async fn watch(
    args: &RunArgs,
    hangups: Signal,
    (mut programs, scanner): (Programs, Option<Scanner>),
    watch_list: WatchList,
    exclusions: Exclusions,
    tools: Vec<InstalledTool>,
    loaded: Loaded,
) -> anyhow::Result<ExitCode> {
    let mut shutdown = Shutdown::listen().context("cannot listen for signals")?;
    let (contents, known) = Contents::start(baseline(&watch_list)).context("cannot start to look at files")?;
    let host = inspect::read_host(&watch_list.places())?;
    let agent = inspect::identify_agent(&host, std::process::id(), boot_ns());
    let Loaded { config, effective, .. } = loaded;
    let (delivery, mut carriers) = way_out(args, &config, &host, &agent)?;
    let in_force = InForce::of(&effective);
    let mut reloads = Reloads::new(hangups, args.config.as_deref(), in_force, known, host.kernel_release.clone());
    let counting = counting(&config.rarity, &agent)?;
    let (images, examining) = images::start(&config, &host, &mut programs)?;
    let mut heart = Heart::start(&config, reloads.configuration_sha256(), &host, &agent);
    let publisher = Publisher::start(&config.metrics)?;
    let state_watch = state::start(&config.state, &host, &agent);
    let mut pipeline = Pipeline::new(delivery, watch_list, exclusions, (contents, examining), (host, agent), counting)?;
    // Before maps are taken out: their names go with them.
    let mut links = LinkWatch::start(&mut programs, &mut pipeline);
    let mut counters = Counters::open(&mut programs)?;
    let mut rings = Rings::open(&mut programs)?;
    if let Some(path) = &args.record {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let recorder = file.and_then(Recorder::start);
        rings.record(recorder.with_context(|| format!("{}: events cannot be recorded", path.display()))?);
    }

    // The probes report since they were attached: nothing falls between that and the first look.
    if let Some(watch) = state_watch {
        pipeline.watch_state(watch, inspect::now());
    }
    pipeline.tell_state(&report::started(&programs, boot_ns()));
    let mut manager = ServiceManager::of_environment();
    manager.ready(&announce(&programs));

    let mut switches = Switches::default();
    let mut tampering = TamperWatch::start();
    let looks = scanner.zip(config.integrity.interval()?).map(|(scanner, every)| IntegrityWatch::start(every, scanner));
    let mut looks = looks.transpose().context("cannot start to look at the kernel")?;
    let mut closes = Closes::default();
    let mut tools = ToolWatch { known: tools, looked: Instant::now() };
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whether a ring may hold more than the last batch. Batches let signals and losses have their turn in a flood.
    let mut more = true;
    let signal = loop {
        let patience = pipeline.next_deadline_ns().map(|at| Duration::from_nanos(at.saturating_sub(boot_ns())));
        tokio::select! {
            biased;
            signal = shutdown.requested() => break signal,
            step = reloads.next() => match step {
                reload::Step::Asked => manager.reloading(),
                reload::Step::Read(next) => {
                    reloads.apply(next, &mut programs, &mut rings, &mut pipeline, carriers.as_mut());
                    heart.follow_settings(reloads.configuration_sha256());
                    manager.ready(&status(&programs, &pipeline));
                }
            },
            _ = ticks.tick() => {
                let totals = read_totals(&mut counters);
                if let Some(totals) = &totals {
                    rings.expect(totals.submitted);
                }
                pipeline.note_losses(&[(LossReason::RingOverwritten, rings.missing())]);
                pipeline.tick(totals);
                look_at_switches(&mut switches, &mut programs, &mut pipeline);
                let suspicious = pipeline.take_suspicion();
                links.follow(suspicious, &mut programs, &mut pipeline);
                tampering.follow(suspicious, &mut programs, (&mut rings, images.as_ref()), &mut pipeline, &tools);
                if let Some(looks) = &mut looks {
                    looks.follow(&programs, &mut pipeline);
                }
                let carried = carriers.as_mut().map(|carriers| carriers.look_after(&mut pipeline)).transpose()?;
                publisher.follow(&heart, &mut programs, &pipeline, totals.as_ref(), carried.as_ref());
                let carried = carried.as_ref().map(carriers::metrics).unwrap_or_default();
                heart.follow(&mut programs, &mut pipeline, totals.as_ref(), carried);
                tools.follow(&mut programs);
            }
            () = tokio::time::sleep_until(closes.next()), if closes.are_awaited() => closes.look(&mut programs),
            answer = pipeline.answer() => match answer {
                Some(answer) => pipeline.take_answer(answer),
                None => anyhow::bail!("those who look at files have ended"),
            },
            // Not a ready future: without a rest the runtime never looks at timers and signals.
            () = tokio::task::yield_now(), if more => {}
            ready = rings.readable(), if !more => ready?,
            () = tokio::time::sleep(patience.unwrap_or_default()), if !more && patience.is_some() => {}
        }
        more = pipeline.read(&mut rings);
        closes.await_closes_of(pipeline.open_files());
        // A timer that is made anew in each turn never rings while there is always more to read.
        if closes.are_due() {
            closes.look(&mut programs);
        }
        if pipeline.output_is_closed() {
            anyhow::bail!("the output has ended: there is nobody to tell");
        }
        manager.alive(|| status(&programs, &pipeline));
    };
    manager.stopping();
    tracing::info!(signal, "stopping: what was seen is passed on");

    if let Some(looks) = looks {
        looks.stop(&mut pipeline);
    }
    // What the programs count by themselves goes with them.
    read_totals(&mut counters);
    let mut state = report::stopped(&programs);
    if closes.are_awaited() {
        closes.look(&mut programs);
    }
    // Detached first, so that what follows ends.
    drop(programs);
    let deadline = Instant::now() + DRAIN;
    pipeline.close_before(deadline);
    let totals = read_totals(&mut counters);
    rings.expect(totals.map_or(0, |totals| totals.submitted));
    while pipeline.read(&mut rings) {}
    pipeline.drain();
    pipeline.note_losses(&[(LossReason::RingOverwritten, rings.missing())]);
    pipeline.tick(totals);
    state.tampering = rings.take_tampering();
    state.tampering.extend(images.iter().flat_map(|reader| reader.images().take_tampering()));
    state.boot_ns = boot_ns();
    state.counters = report::counters(totals.as_ref());
    // This document is one more.
    state.counters.extend(pipeline.counters().map(|(name, count)| (name, count + u64::from(name == "documents"))));
    pipeline.tell_state(&state);
    let told = !pipeline.owes();
    finish(pipeline.into_output(), carriers, deadline, || heart.stop(Instant::now() + RECORD))?;
    anyhow::ensure!(told, "not everything that was seen could be told before the end");
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Where documents go: to standard output alone, or through the spool to the sinks.
fn way_out(
    args: &RunArgs,
    config: &Config,
    host: &Host,
    agent: &Agent,
) -> anyhow::Result<(Delivery, Option<Carriers>)> {
    let started = "cannot start the output";
    if args.stdout {
        let output = Output::start(Lines::to(std::io::stdout())).context(started)?;
        return Ok((Delivery { output, with_events: args.events }, None));
    }
    let carriers = Carriers::start(config, host, agent)?;
    let output = Output::start(carriers.spool()).context(started)?;
    Ok((Delivery { output, with_events: carriers.want_events() }, Some(carriers)))
}

/// Those who count, unless that is switched off. A host that cannot count tells everything as rare.
fn counting(config: &RarityConfig, agent: &Agent) -> anyhow::Result<Option<Counting>> {
    if !config.enabled {
        return Ok(None);
    }
    // Checked when the settings were read.
    let (limits, fleet) = (config.limits()?, config.fleet()?);
    let fleet_patience = fleet.as_ref().map_or(Duration::ZERO, |fleet| fleet.link.deadline);
    let thresholds = config.thresholds()?;
    let (path, keys) = (config.path.clone(), KeyNames::from(&thresholds));
    let settings = Settings { path, limits, fleet, agent: agent.id.clone(), keys };
    let service = Service::start(settings)
        .inspect_err(|error| tracing::error!(%error, "the prevalence store cannot be opened: all is told as rare"))
        .ok();
    Ok(Some(Counting {
        service,
        thresholds,
        window_days: limits.window.days,
        fleet_patience_ns: u64::try_from(fleet_patience.as_nanos()).unwrap_or(u64::MAX),
    }))
}

/// Tells when hooks were silenced behind our back, or speak again.
fn look_at_switches(switches: &mut Switches, programs: &mut Programs, pipeline: &mut Pipeline) {
    let now = switches.read();
    if now == programs.switched_off {
        return;
    }
    programs.switched_off = now;
    programs.follow_blindness(boot_ns());
    let state = report::switched(programs, boot_ns());
    tracing::warn!(change = state.change.action(), not_seen = state.blind.join("; "), "hooks were switched");
    pipeline.tell_state(&state);
}

/// What is watched now, for the files whose state is kept.
fn baseline(watch_list: &WatchList) -> Baseline {
    let (folders, files) = watch_list.places();
    // A pattern was compiled when it was taken into the list; what cannot be listed is not remembered.
    let found = |patterns: Vec<String>| {
        patterns.iter().filter_map(|pattern| glob::glob(pattern).ok()).flatten().flatten().collect()
    };
    let (folders, files) = (found(folders), found(files));
    let watch_list = watch_list.clone();
    Baseline { folders, files, subject: Box::new(move |path| watch_list.subject_of(path)) }
}

/// The counters; a failure to read them is said and does not end the watch.
fn read_totals(counters: &mut Counters) -> Option<Totals> {
    counters
        .read()
        .inspect_err(|error| tracing::error!(%error, "the probes' counters cannot be read: losses are not seen"))
        .ok()
}

/// One line for people who ask the service manager.
fn status(programs: &Programs, pipeline: &Pipeline) -> String {
    let sight = if programs.blind_spots().is_empty() { "Watching" } else { "Watching, partly blind" };
    format!("{sight}; {} documents since the start", pipeline.documents())
}

/// Says in the log, and in one line for the service manager, what is watched from now on. Tests wait for `sensor ready`.
fn announce(programs: &Programs) -> String {
    for attached in &programs.probes {
        if let State::Failed(error) = &attached.state {
            tracing::warn!(
                probe = attached.probe.program,
                hook = attached.hook.target(),
                lost = attached.probe.lost,
                fallback = attached.probe.fallback,
                %error,
                "probe is not attached"
            );
        }
    }
    let hooks = report::syscall_hooks(programs).name();
    let blind = programs.blind_spots();
    if blind.is_empty() {
        tracing::info!(syscall_hooks = hooks, "sensor ready");
        "Watching".to_owned()
    } else {
        let not_seen = blind.join("; ");
        tracing::warn!(syscall_hooks = hooks, not_seen, "sensor ready, but partly blind");
        format!("Watching, but not seen: {not_seen}")
    }
}
