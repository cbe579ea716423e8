//! What is installed beside the programs: made by the generator, used as an administrator and systemd use it.

#[path = "../../examples/generate/configs.rs"]
mod configs;
#[path = "../../examples/generate/files.rs"]
mod files;
#[path = "../../examples/generate/pages.rs"]
mod pages;
#[path = "../../examples/generate/programs.rs"]
mod programs;
#[path = "../../examples/generate/templates.rs"]
mod templates;

mod config_files;
mod init_scripts;
mod logcheck;
mod make_install;
mod manual;
mod notify;
mod support;
mod units;
