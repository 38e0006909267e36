//! Makes modules.dep and modules.alias from the modules themselves, as depmod(8) does when a kernel package is
//! installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The modules of a kernel by name.
#[derive(Debug)]
pub struct Modules {
    folder: PathBuf,
    /// The path of each module, relative to the directory.
    paths: BTreeMap<String, PathBuf>,
}

/// Some modules, all modules that they need, and the two index files for them.
#[derive(Debug)]
pub struct Selection {
    /// The paths of the modules, relative to the directory.
    pub paths: Vec<PathBuf>,
    /// The text of modules.dep.
    pub dep: String,
    /// The text of modules.alias.
    pub alias: String,
}

impl Modules {
    /// Lists the modules in `/lib/modules/RELEASE`.
    pub fn in_folder(folder: &Path) -> Result<Modules> {
        let mut paths = BTreeMap::new();
        let mut folders = vec![folder.join("kernel")];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".ko")) {
                    paths.insert(name.replace('-', "_"), path.strip_prefix(folder)?.to_owned());
                }
            }
        }
        Ok(Modules { folder: folder.to_owned(), paths })
    }

    /// Selects the modules below some paths, and all modules that they need.
    pub fn select(&self, below: &[&str]) -> Result<Selection> {
        let wanted = self.paths.iter().filter(|(_, path)| below.iter().any(|prefix| path.starts_with(prefix)));
        let mut waiting: Vec<&String> = wanted.map(|(name, _)| name).collect();
        let mut needs: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
        let mut alias = String::new();
        while let Some(name) = waiting.pop() {
            if needs.contains_key(name) {
                continue;
            }
            let contents = fs::read(self.folder.join(&self.paths[name]))?;
            for text in fields(&contents, "alias=") {
                let _ = writeln!(alias, "alias {text} {name}");
            }
            let list = fields(&contents, "depends=").concat().replace('-', "_");
            let direct: Vec<&String> = list
                .split(',')
                .filter(|need| !need.is_empty())
                .map(|need| self.paths.get_key_value(need).map(|(name, _)| name).with_context(|| need.to_owned()))
                .collect::<Result<_>>()?;
            waiting.extend(&direct);
            needs.insert(name, direct);
        }
        let path = |name: &String| self.paths[name].display().to_string();
        let mut dep = String::new();
        for name in needs.keys() {
            let all: Vec<String> = in_order(name, &needs).into_iter().map(path).collect();
            let _ = writeln!(dep, "{}: {}", path(name), all.join(" "));
        }
        Ok(Selection { paths: needs.keys().map(|name| self.paths[*name].clone()).collect(), dep, alias })
    }
}

/// Returns all modules that a module needs, each before those that it needs itself, in the order of depmod.
fn in_order<'a>(module: &'a String, needs: &BTreeMap<&'a String, Vec<&'a String>>) -> Vec<&'a String> {
    fn visit<'a>(
        module: &'a String,
        needs: &BTreeMap<&'a String, Vec<&'a String>>,
        seen: &mut BTreeSet<&'a String>,
        order: &mut Vec<&'a String>,
    ) {
        if seen.insert(module) {
            needs[module].iter().for_each(|need| visit(need, needs, seen, order));
            order.push(module);
        }
    }
    let mut order = Vec::new();
    visit(module, needs, &mut BTreeSet::new(), &mut order);
    order.pop();
    order.reverse();
    order
}

/// Returns the values of a field in section `.modinfo` of a module, which holds texts that end in a zero byte.
fn fields(module: &[u8], name: &str) -> Vec<String> {
    let texts = module.split(|byte| *byte == 0).filter_map(|text| text.strip_prefix(name.as_bytes()));
    texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}
