//! The programs that load modules: kmod and all that it is called, programs of many tools, and what the kernel itself runs.

use std::path::Path;

use super::{gaps::Gaps, survey::Survey};
use crate::{
    inspect::{
        contents::{Keep, NotThere},
        tools::FOLDERS,
    },
    model::{
        ContentStatus, Gap, ToolEntry, ToolKind,
        text::text,
        tool_run::{MANY_NAMES, READING_NAMES, TOOL_NAMES},
    },
};

/// Documentation/admin-guide/sysctl/kernel.rst: the program that the kernel runs to get a module.
const KERNELS: &[u8] = b"/proc/sys/kernel/modprobe";
const SETTING: &str = "kernel.modprobe";

/// All tools, each file once with the paths that lead to it; what could not be looked at is told.
pub fn list(survey: &mut Survey) -> (Vec<ToolEntry>, Vec<Gap>) {
    list_in(&FOLDERS.map(Path::new), KERNELS, survey)
}

fn list_in(folders: &[&Path], setting: &[u8], survey: &mut Survey) -> (Vec<ToolEntry>, Vec<Gap>) {
    let mut gaps = Gaps::default();
    let mut tools = Vec::new();
    let kinds = [(ToolKind::Tool, &TOOL_NAMES[..]), (ToolKind::Tool, &READING_NAMES), (ToolKind::Many, &MANY_NAMES)];
    for (kind, names) in kinds {
        for (name, folder) in names.iter().flat_map(|name| folders.iter().map(move |folder| (name, folder))) {
            add(&mut tools, folder.join(name).as_os_str().as_encoded_bytes(), kind, survey, &mut gaps);
        }
    }
    add_kernels(&mut tools, setting, survey, &mut gaps);
    // A tool that is a link to a program of many is that program.
    for tool in &mut tools {
        let name = tool.file.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if MANY_NAMES.iter().any(|many| many.as_bytes() == name) {
            tool.kind = ToolKind::Many;
        }
    }
    (tools, gaps.into_vec())
}

/// The tool behind this path; `None` where there is none.
fn add<'a>(
    tools: &'a mut Vec<ToolEntry>,
    name: &[u8],
    kind: ToolKind,
    survey: &mut Survey,
    gaps: &mut Gaps,
) -> Option<&'a mut ToolEntry> {
    let path = match survey.files.resolve(name) {
        Ok(path) => path,
        Err(NotThere::Gone) => return None,
        Err(why) => {
            gaps.add_one("tool", name, why);
            return None;
        }
    };
    let known = tools.iter().position(|tool| tool.file.path == path);
    let at = match known {
        Some(at) => at,
        None => {
            let (file, _) = survey.look(("tool", &path), Keep::Nothing, gaps)?;
            if file.state.mode & libc::S_IFMT != libc::S_IFREG {
                return None;
            }
            tools.push(ToolEntry { file, kind, names: Vec::new(), is_kernels: false });
            tools.len() - 1
        }
    };
    let tool = tools.get_mut(at)?;
    if !tool.names.iter().any(|known| known == name) {
        tool.names.push(name.to_vec());
    }
    Some(tool)
}

/// The kernel takes the path from its own root, which nobody but the host's root decides.
fn add_kernels(tools: &mut Vec<ToolEntry>, setting: &[u8], survey: &mut Survey, gaps: &mut Gaps) {
    let seen = match survey.files.look(setting, Keep::ShortText) {
        Ok(seen) if seen.status == ContentStatus::Read => seen,
        Ok(seen) => return gaps.add(SETTING, seen.refusal.unwrap_or_else(|| "it cannot be read".to_owned())),
        Err(why) => return gaps.add(SETTING, why),
    };
    let value = seen.content.unwrap_or_default();
    let path = value.strip_suffix(b"\n").unwrap_or(&value);
    if path.is_empty() {
        return gaps.add(SETTING, "it is empty: the kernel runs no program to get a module");
    }
    match add(tools, path, ToolKind::Tool, survey, gaps) {
        Some(tool) => tool.is_kernels = true,
        None => gaps.add(SETTING, format!("it names {}, which is no program that can be looked at", text(path))),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{inventory::survey::Budget, model::text::hex};

    #[test]
    fn each_program_is_there_once_with_all_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        symlink("usr/bin", root.join("sbin")).unwrap();
        let bin = root.join("usr/bin");
        fs::write(bin.join("kmod"), "kmod").unwrap();
        fs::write(bin.join("busybox"), "busybox").unwrap();
        fs::write(root.join("helper"), "helper").unwrap();
        symlink("kmod", bin.join("modprobe")).unwrap();
        symlink("../bin/kmod", bin.join("lsmod")).unwrap();
        symlink("busybox", bin.join("insmod")).unwrap();
        fs::create_dir(bin.join("depmod")).unwrap();
        let setting = root.join("setting");
        let listed = |value: &str| {
            fs::write(&setting, value).unwrap();
            let budget = Budget { files: 100, bytes: 1 << 20, until: Instant::now() + Duration::from_secs(600) };
            let folders = [bin.clone(), root.join("sbin")];
            let setting = setting.as_os_str().as_encoded_bytes();
            list_in(&folders.each_ref().map(|f| f.as_path()), setting, &mut Survey::open(budget).unwrap())
        };
        let shown = |tools: &[ToolEntry]| -> Vec<(String, usize, ToolKind, bool)> {
            let path = |tool: &ToolEntry| text(&tool.file.path).replace(root.to_str().unwrap(), "");
            tools.iter().map(|tool| (path(tool), tool.names.len(), tool.kind, tool.is_kernels)).collect()
        };

        let (tools, gaps) = listed(&format!("{}\n", root.join("sbin/modprobe").display()));
        assert_eq!(
            shown(&tools),
            [
                ("/usr/bin/kmod".to_owned(), 6, ToolKind::Tool, true),
                ("/usr/bin/busybox".to_owned(), 4, ToolKind::Many, false),
            ]
        );
        // Of `printf kmod | sha256sum`.
        let sha256 = "43908ec50e3d1107c06035715db493e61e1f903ace33144190d01ffc48e00971";
        assert_eq!(hex(&tools[0].file.state.sha256.unwrap()), sha256);
        assert_eq!(gaps, []);

        let (tools, _) = listed(root.join("helper").to_str().unwrap());
        assert_eq!(shown(&tools)[2], ("/helper".to_owned(), 1, ToolKind::Tool, true), "whatever it is called");

        let (tools, gaps) = listed("/nowhere/x\n");
        assert!(tools.iter().all(|tool| !tool.is_kernels));
        let sentence = "kernel.modprobe: it names /nowhere/x, which is no program that can be looked at";
        assert_eq!(gaps[0].sentence(), sentence);
        let (_, gaps) = listed("\n");
        assert!(gaps[0].sentence().contains("it is empty"));
    }
}
