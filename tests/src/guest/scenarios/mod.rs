//! What is done to the machine, by theme. A new scenario is a function and a line in [`ALL`].

mod autoload;
mod callers;
mod changes;
mod compat;
mod configuration;
mod delivery;
mod disguises;
pub(crate) mod documents;
mod drift;
mod evasions;
mod failures;
mod files;
mod flood;
mod images;
pub(crate) mod integrity;
mod inventory;
mod lifecycle;
mod loads;
mod metrics;
mod names;
mod namespaces;
mod origins;
mod places;
mod protection;
mod rarity;
mod reload;
mod runs;
mod settings;
mod tampering;
mod tools;
mod unloads;

use crate::stage::Stage;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Stage),
    /// Whether its documents must be the same under both kinds of hooks.
    pub(crate) compared: bool,
    /// Whether the hooks of system calls have nothing to do with it: then one kind of them is enough.
    pub(crate) once: bool,
    /// Whether the kernel has nothing to do with it, but only what the daemon makes of what it saw: then one kernel is enough.
    pub(crate) user_space: bool,
}

const fn compared(name: &'static str, run: fn(&mut Stage)) -> Scenario {
    Scenario { name, run, compared: true, once: false, user_space: false }
}

/// For scenarios that chance, loss or the hooks themselves decide. The kernel names a nameless file by its number.
const fn not_compared(name: &'static str, run: fn(&mut Stage)) -> Scenario {
    Scenario { name, run, compared: false, once: false, user_space: false }
}

/// For files, which other hooks see, and programs of the daemon.
const fn once(name: &'static str, run: fn(&mut Stage)) -> Scenario {
    Scenario { name, run, compared: false, once: true, user_space: false }
}

/// For files and servers of the daemon's own.
const fn in_user_space(name: &'static str, run: fn(&mut Stage)) -> Scenario {
    Scenario { name, run, compared: false, once: true, user_space: true }
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
    compared("images::captured::of_files", images::captured::of_files),
    compared("images::captured::unpacked_by_the_tool", images::captured::unpacked_by_the_tool),
    compared("images::captured::found_packed_by_modprobe", images::captured::found_packed_by_modprobe),
    compared("images::captured::of_memory", images::captured::of_memory),
    compared("images::captured::replaced_before_the_load", images::captured::replaced_before_the_load),
    not_compared("images::captured::rewritten_during_the_load", images::captured::rewritten_during_the_load),
    not_compared("images::captured::large", images::captured::large),
    not_compared("images::captured::twenty_at_once", images::captured::twenty_at_once),
    once("images::captured::more_than_there_is_room_for", images::captured::more_than_there_is_room_for),
    compared("images::contents::of_a_driver", images::contents::of_a_driver),
    compared("images::contents::another_name", images::contents::another_name),
    compared("images::contents::out_of_tree", images::contents::out_of_tree),
    compared("images::contents::symbols_of_interest", images::contents::symbols_of_interest),
    compared("images::contents::symbol_that_is_not_exported", images::contents::symbol_that_is_not_exported),
    compared("images::contents::names_of_what_is_not_exported", images::contents::names_of_what_is_not_exported),
    compared("images::contents::swapped_behind_the_load", images::contents::swapped_behind_the_load),
    compared("images::provenance::of_a_package", images::provenance::of_a_package),
    compared("images::provenance::of_a_changed_record", images::provenance::of_a_changed_record),
    compared("images::provenance::of_no_package", images::provenance::of_no_package),
    once("images::evidence::of_memory", images::evidence::of_memory),
    once("images::evidence::of_a_first_part", images::evidence::of_a_first_part),
    once("images::evidence::of_what_nobody_vouches_for", images::evidence::of_what_nobody_vouches_for),
    in_user_space("images::evidence::on_a_full_disk", images::evidence::on_a_full_disk),
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
    once("files::names::created", files::names::created),
    once("files::names::created_by_the_analyst", files::names::created_by_the_analyst),
    once("files::names::renamed_into_the_name", files::names::renamed_into_the_name),
    once("files::names::exchanged", files::names::exchanged),
    once("files::names::linked", files::names::linked),
    once("files::names::symlinked", files::names::symlinked),
    once("files::names::nameless_file", files::names::nameless_file),
    once("files::names::made_by_mknod", files::names::made_by_mknod),
    once("files::names::written_through_io_uring", files::names::written_through_io_uring),
    once("files::names::copied_by_copy_file_range", files::names::copied_by_copy_file_range),
    once("files::names::created_through_a_link", files::names::created_through_a_link),
    once("files::routes::in_a_container", files::routes::in_a_container),
    once("files::routes::in_a_chroot", files::routes::in_a_chroot),
    once("files::routes::over_a_bind_mount", files::routes::over_a_bind_mount),
    once("files::routes::on_an_overlay", files::routes::on_an_overlay),
    once("files::routes::with_a_strange_name", files::routes::with_a_strange_name),
    once("files::routes::beyond_path_max", files::routes::beyond_path_max),
    once("files::openings::made_for_reading", files::openings::made_for_reading),
    once("files::openings::not_made", files::openings::not_made),
    once("files::openings::cut_by_reading", files::openings::cut_by_reading),
    once("files::openings::through_fanotify", files::openings::through_fanotify),
    once("files::openings::linked_to_a_name_of_no_interest", files::openings::linked_to_a_name_of_no_interest),
    once("files::openings::kept_from_being_read", files::openings::kept_from_being_read),
    once("files::openings::forbidden_by_a_security_module", files::openings::forbidden_by_a_security_module),
    once("files::openings::by_a_process_that_moves", files::openings::by_a_process_that_moves),
    once("files::changes::installed_module_patched", files::changes::installed_module_patched),
    once("files::changes::truncated", files::changes::truncated),
    once("files::changes::written_through_a_mapping", files::changes::written_through_a_mapping),
    once("files::changes::given_other_attributes", files::changes::given_other_attributes),
    once("files::changes::removed", files::changes::removed),
    once("files::changes::renamed_away", files::changes::renamed_away),
    once("files::changes::renamed_while_it_is_written", files::changes::renamed_while_it_is_written),
    once("files::changes::renamed_to_another_watched_name", files::changes::renamed_to_another_watched_name),
    once("files::changes::by_two_writers", files::changes::by_two_writers),
    once("files::changes::kept_open", files::changes::kept_open),
    once("files::exclusions::of_no_interest", files::exclusions::of_no_interest),
    once("files::exclusions::excluded_trees", files::exclusions::excluded_trees),
    once("files::exclusions::out_of_an_excluded_tree", files::exclusions::out_of_an_excluded_tree),
    once("files::exclusions::mount_over_an_excluded_tree", files::exclusions::mount_over_an_excluded_tree),
    once("files::exclusions::false_excluded_tree", files::exclusions::false_excluded_tree),
    once("files::bursts::copied_tree", files::bursts::copied_tree),
    once("configuration::created_and_written", configuration::created_and_written),
    once("configuration::opened_and_not_changed", configuration::opened_and_not_changed),
    once("configuration::written_without_moving_its_times", configuration::written_without_moving_its_times),
    once("configuration::kept_open", configuration::kept_open),
    once("configuration::removed_and_made_anew", configuration::removed_and_made_anew),
    once("configuration::with_other_attributes", configuration::with_other_attributes),
    once("configuration::dangers", configuration::dangers),
    once("configuration::renamed_over", configuration::renamed_over),
    once("configuration::symbolic_link", configuration::symbolic_link),
    once("configuration::lists", configuration::lists),
    once("configuration::pam_module", configuration::pam_module),
    once("configuration::read_or_elsewhere", configuration::read_or_elsewhere),
    once("settings::index_by_another_program", settings::index_by_another_program),
    once("settings::index_by_depmod", settings::index_by_depmod),
    once("settings::index_by_a_copy_of_depmod", settings::index_by_a_copy_of_depmod),
    once("settings::modprobe_path", settings::modprobe_path),
    once("settings::modules_disabled", settings::modules_disabled),
    once("places::chroot_of_its_own", places::chroot_of_its_own),
    once("places::chroot_into_the_folder_above", places::chroot_into_the_folder_above),
    once("places::container", places::container),
    once("places::mount_namespace_of_the_same_files", places::mount_namespace_of_the_same_files),
    once("places::mounted_elsewhere", places::mounted_elsewhere),
    once("places::file_mounted_elsewhere", places::file_mounted_elsewhere),
    once("places::run_mounted_elsewhere", places::run_mounted_elsewhere),
    once("places::settings_of_another_procfs", places::settings_of_another_procfs),
    once("places::folder_renamed", places::folder_renamed),
    once("places::folder_mounted_over", places::folder_mounted_over),
    once("places::folder_above_mounted_over", places::folder_above_mounted_over),
    once("places::folder_mounted_over_by_new_calls", places::folder_mounted_over_by_new_calls),
    not_compared("tools::insmod", tools::insmod),
    not_compared("tools::modprobe", tools::modprobe),
    not_compared("tools::rmmod", tools::rmmod),
    not_compared("tools::that_do_nothing", tools::that_do_nothing),
    not_compared("tools::that_the_kernel_refuses", tools::that_the_kernel_refuses),
    not_compared("tools::that_the_kernel_runs", tools::that_the_kernel_runs),
    not_compared("tools::with_many_arguments", tools::with_many_arguments),
    not_compared("tools::killed", tools::killed),
    not_compared("tools::of_many", tools::of_many),
    not_compared("disguises::copy", disguises::copy),
    not_compared("disguises::copy_by_an_odd_name", disguises::copy_by_an_odd_name),
    not_compared("disguises::hard_link", disguises::hard_link),
    not_compared("disguises::another_first_argument", disguises::another_first_argument),
    not_compared("disguises::by_descriptor", disguises::by_descriptor),
    not_compared("disguises::copy_of_a_program_of_many", disguises::copy_of_a_program_of_many),
    not_compared("disguises::program_of_many_asked_otherwise", disguises::program_of_many_asked_otherwise),
    not_compared("disguises::by_the_dynamic_loader", disguises::by_the_dynamic_loader),
    not_compared("disguises::that_executes_another", disguises::that_executes_another),
    not_compared("disguises::other_programs", disguises::other_programs),
    in_user_space("rarity::files", rarity::files),
    in_user_space("rarity::groups_that_were_warmed", rarity::groups_that_were_warmed),
    in_user_space("rarity::loads_and_runs", rarity::loads_and_runs),
    in_user_space("rarity::after_a_kill", rarity::after_a_kill),
    in_user_space("rarity::on_a_full_disk", rarity::on_a_full_disk),
    in_user_space("rarity::of_a_fleet", rarity::of_a_fleet),
    in_user_space("delivery::through_the_spool", delivery::through_the_spool),
    in_user_space("delivery::on_a_full_disk", delivery::on_a_full_disk),
    in_user_space("reload::loses_nothing", reload::loses_nothing),
    once("protection::program_opened_by_number", protection::program_opened_by_number),
    once("protection::program_extended", protection::program_extended),
    once("protection::map_changed", protection::map_changed),
    once("protection::link_to_be_detached", protection::link_to_be_detached),
    once("protection::pinned_and_opened_by_name", protection::pinned_and_opened_by_name),
    once("protection::descriptor_taken", protection::descriptor_taken),
    once("protection::objects_of_others", protection::objects_of_others),
    once("tampering::ring_written_over", tampering::ring_written_over),
    once("tampering::map_changed_by_a_program", tampering::map_changed_by_a_program),
    once("tampering::hooks_silent_for_a_moment", tampering::hooks_silent_for_a_moment),
    once("runs::alive_until_a_hook_is_taken_away", runs::alive_until_a_hook_is_taken_away),
    once("integrity::views::of_a_module_that_hides", integrity::views::of_a_module_that_hides),
    once("integrity::views::agree", integrity::views::agree),
    once("integrity::hidden::from_the_list", integrity::hidden::from_the_list),
    once("integrity::hidden::from_sysfs", integrity::hidden::from_sysfs),
    once("integrity::hidden::from_both", integrity::hidden::from_both),
    once("integrity::hidden::from_proc_modules", integrity::hidden::from_proc_modules),
    once("integrity::hidden::from_the_address_tree", integrity::hidden::from_the_address_tree),
    once("integrity::hidden::from_everything", integrity::hidden::from_everything),
    once("integrity::hidden::under_changing_names", integrity::hidden::under_changing_names),
    once("integrity::tampering::taint_cleared", integrity::tampering::taint_cleared),
    once("integrity::tampering::system_call_by_a_listed_module", integrity::tampering::system_call_by_a_listed_module),
    once("integrity::tampering::system_call_by_a_hidden_module", integrity::tampering::system_call_by_a_hidden_module),
    once("integrity::tampering::hooks", integrity::tampering::hooks),
    once("integrity::crowds::of_modules", integrity::crowds::of_modules),
    once("integrity::crowds::of_loads_and_unloads", integrity::crowds::of_loads_and_unloads),
    in_user_space("runs::after_a_kill", runs::after_a_kill),
    in_user_space("runs::under_a_forged_boot_id", runs::under_a_forged_boot_id),
    in_user_space("runs::start_that_is_hindered", runs::start_that_is_hindered),
    in_user_space("runs::record_that_is_a_pipe", runs::record_that_is_a_pipe),
    in_user_space("runs::other_program_and_settings", runs::other_program_and_settings),
    in_user_space("runs::files_of_the_daemon_changed", runs::files_of_the_daemon_changed),
    in_user_space("drift::first_start", drift::first_start),
    once("drift::while_stopped", drift::while_stopped),
    in_user_space("drift::seen_before_the_stop", drift::seen_before_the_stop),
    once("drift::cleared_taint", drift::cleared_taint),
    in_user_space("drift::unnoticed", drift::unnoticed),
    in_user_space("drift::damaged_record", drift::damaged_record),
    in_user_space("drift::removed_record", drift::removed_record),
    in_user_space("drift::replaced_place", drift::replaced_place),
    in_user_space("metrics::as_in_heartbeats", metrics::as_in_heartbeats),
    once("inventory::modules", inventory::modules),
    once("inventory::files", inventory::files),
    once("inventory::tools", inventory::tools),
    once("inventory::without_root", inventory::without_root),
    once("inventory::formats", inventory::formats),
    // All daemons of the machine know the kernel's key from then on.
    once("images::signatures::by_the_kernel_and_by_others", images::signatures::by_the_kernel_and_by_others),
    not_compared("flood::while_the_daemon_listens", flood::while_the_daemon_listens),
    not_compared("flood::while_the_daemon_stands_still", flood::while_the_daemon_stands_still),
    once("flood::while_nobody_reads", flood::while_nobody_reads),
    once("flood::that_does_not_end", flood::that_does_not_end),
    not_compared("lifecycle::start_report", lifecycle::start_report),
    once("lifecycle::doctor", lifecycle::doctor),
    once("lifecycle::second_instance", lifecycle::second_instance),
    not_compared("lifecycle::stop_loses_nothing", lifecycle::stop_loses_nothing),
];
