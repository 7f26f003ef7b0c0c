//! What is done to the machine, by theme. A new scenario is a function and a line in [`ALL`].

mod autoload;
mod callers;
mod compat;
pub(crate) mod documents;
mod evasions;
mod failures;
mod flood;
mod lifecycle;
mod loads;
mod names;
mod namespaces;
mod origins;
mod unloads;

use crate::stage::Stage;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Stage),
    /// Whether its documents must be the same under both kinds of hooks.
    pub(crate) compared: bool,
}

const fn compared(name: &'static str, run: fn(&mut Stage)) -> Scenario {
    Scenario { name, run, compared: true }
}

/// For scenarios that chance, loss or the hooks themselves decide. The kernel names a nameless file by its number.
const fn not_compared(name: &'static str, run: fn(&mut Stage)) -> Scenario {
    Scenario { name, run, compared: false }
}

/// In the order in which they run. The last one stops the daemon.
pub(crate) const ALL: &[Scenario] = &[
    compared("loads::insmod", loads::insmod),
    compared("loads::modprobe_with_dependencies", loads::modprobe_with_dependencies),
    compared("loads::versioned_module", loads::versioned_module),
    compared("loads::forced", loads::forced),
    compared("loads::with_parameters_in_an_absent_page", loads::with_parameters_in_an_absent_page),
    compared("loads::packed", loads::packed),
    not_compared("loads::whose_init_takes_long", loads::whose_init_takes_long),
    not_compared("loads::at_the_same_time", loads::at_the_same_time),
    compared("origins::scratch_folder", origins::scratch_folder),
    compared("origins::memory", origins::memory),
    compared("origins::memfd", origins::memfd),
    compared("origins::unlinked_file", origins::unlinked_file),
    not_compared("origins::nameless_file", origins::nameless_file),
    not_compared("origins::swapped_descriptor", origins::swapped_descriptor),
    compared("failures::init_says_no", failures::init_says_no),
    compared("failures::unknown_symbol", failures::unknown_symbol),
    compared("failures::garbage", failures::garbage),
    compared("failures::broken_signature", failures::broken_signature),
    compared("failures::loaded_before", failures::loaded_before),
    compared("failures::unprivileged", failures::unprivileged),
    compared("callers::fork_of_init", callers::fork_of_init),
    compared("callers::init_itself", callers::init_itself),
    compared("callers::chain_of_parents", callers::chain_of_parents),
    compared("callers::login_user", callers::login_user),
    compared("callers::on_a_terminal", callers::on_a_terminal),
    compared("callers::with_rewritten_arguments", callers::with_rewritten_arguments),
    compared("callers::under_a_rewritten_parent", callers::under_a_rewritten_parent),
    compared("callers::orphan", callers::orphan),
    compared("namespaces::chroot_in_a_mount_namespace", namespaces::chroot_in_a_mount_namespace),
    compared("namespaces::pid_namespace", namespaces::pid_namespace),
    compared("namespaces::bind_mount_over_the_module_tree", namespaces::bind_mount_over_the_module_tree),
    compared("namespaces::container", namespaces::container),
    not_compared("compat::static_32_bit_program", compat::static_32_bit_program),
    not_compared("compat::int_0x80_from_64_bit_code", compat::int_0x80_from_64_bit_code),
    not_compared("compat::load_and_unload_at_once", compat::load_and_unload_at_once),
    compared("autoload::socket_family", autoload::socket_family),
    compared("autoload::file_system", autoload::file_system),
    compared("autoload::file_system_in_a_user_namespace", autoload::file_system_in_a_user_namespace),
    compared("unloads::rmmod", unloads::rmmod),
    compared("unloads::forced", unloads::forced),
    compared("unloads::unknown_module", unloads::unknown_module),
    compared("unloads::used_by_another_module", unloads::used_by_another_module),
    compared("unloads::held_open", unloads::held_open),
    compared("unloads::unprivileged", unloads::unprivileged),
    compared("names::of_files", names::of_files),
    compared("names::in_parameters", names::in_parameters),
    compared("names::of_modules", names::of_modules),
    compared("names::given_to_delete_module", names::given_to_delete_module),
    compared("names::path_beyond_path_max", names::path_beyond_path_max),
    compared("evasions::mount_over_usr", evasions::mount_over_usr),
    compared("evasions::another_usr_in_a_mount_namespace", evasions::another_usr_in_a_mount_namespace),
    compared("evasions::system_mounted_over_itself", evasions::system_mounted_over_itself),
    compared("evasions::detached_root", evasions::detached_root),
    compared("evasions::forged_executable", evasions::forged_executable),
    not_compared("evasions::traced_loader", evasions::traced_loader),
    compared("evasions::parent_without_main_thread", evasions::parent_without_main_thread),
    compared("evasions::adopted_fork", evasions::adopted_fork),
    compared("evasions::deep_control_group", evasions::deep_control_group),
    compared("evasions::pipe_for_a_file", evasions::pipe_for_a_file),
    not_compared("evasions::hooks_switched_off", evasions::hooks_switched_off),
    not_compared("evasions::clock_steps", evasions::clock_steps),
    not_compared("flood::while_the_daemon_listens", flood::while_the_daemon_listens),
    not_compared("flood::while_the_daemon_stands_still", flood::while_the_daemon_stands_still),
    not_compared("flood::while_nobody_reads", flood::while_nobody_reads),
    not_compared("flood::that_does_not_end", flood::that_does_not_end),
    not_compared("lifecycle::start_report", lifecycle::start_report),
    not_compared("lifecycle::doctor", lifecycle::doctor),
    not_compared("lifecycle::second_instance", lifecycle::second_instance),
    not_compared("lifecycle::stop_loses_nothing", lifecycle::stop_loses_nothing),
];
