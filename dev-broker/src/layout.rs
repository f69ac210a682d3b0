//! The node's folder, its configuration and its environment.

use std::{
    collections::hash_map::DefaultHasher,
    fs::{self, DirBuilder, File, Permissions, TryLockError},
    hash::{Hash, Hasher},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{DevBrokerError, ports::Ports};

/// The environment variable by which a process is known to belong to the node of a folder.
pub(crate) const OWNER_VARIABLE: &str = "CREWCALL_DEV_BROKER_DIR";

/// How much of the log goes into an error.
const LOG_TAIL_BYTES: usize = 4 * 1024;

/// What the owner may do with the folder, and nobody else: its files are messages, and the cookie that rules the node.
const OWNER_ONLY: u32 = 0o700;

/// What belongs to a node and stays the same from start to start.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) node_name: String,
}

impl Layout {
    /// Creates the folder when it is missing, and reads or makes the node's name. The name is kept in the folder
    /// because the node's data are filed under it.
    pub(crate) fn open(dir: &Path) -> Result<Self, DevBrokerError> {
        make_private(dir).map_err(DevBrokerError::io(format!("create {}", dir.display())))?;
        let dir = dir.canonicalize().map_err(DevBrokerError::io(format!("find {}", dir.display())))?;
        let name_file = dir.join("node.name");
        let node_name = match fs::read_to_string(&name_file) {
            Ok(name) => name.trim().to_owned(),
            Err(_) => {
                let mut hasher = DefaultHasher::new();
                (&dir, std::process::id()).hash(&mut hasher);
                let name = format!("crewcall-{:08x}@localhost", hasher.finish() & 0xffff_ffff);
                write(&name_file, &name)?;
                name
            }
        };
        Ok(Self { dir, node_name })
    }

    /// Claims the folder for this process; the claim ends with the returned file, or with the process.
    pub(crate) fn lock(&self) -> Result<File, DevBrokerError> {
        let file = File::create(self.dir.join("lock")).map_err(DevBrokerError::io("create the lock file"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(DevBrokerError::InUse { dir: self.dir.clone() }),
            Err(TryLockError::Error(error)) => Err(DevBrokerError::io("lock the folder")(error)),
        }
    }

    pub(crate) fn write_configuration(&self, ports: Ports, further: &str) -> Result<(), DevBrokerError> {
        let configuration = format!(
            "# Written at every start.\n\
             listeners.tcp.1 = 127.0.0.1:{}\n\
             log.console = false\n\
             # Small, because many nodes may share a disk.\n\
             raft.wal_max_size_bytes = 67108864\n\
             {further}\n",
            ports.amqp
        );
        write(&self.dir.join("rabbitmq.conf"), &configuration)?;
        write(&self.dir.join("enabled_plugins"), "[].\n")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Deletes everything that the node stored, and its logs.
    pub(crate) fn wipe(&self) -> Result<(), DevBrokerError> {
        for dir in [self.data(), self.dir.join("log")] {
            match fs::remove_dir_all(dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DevBrokerError::io("delete what the node stored")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.dir.join("output.log")
    }

    /// Where the id of one of the node's processes is kept for the next start.
    pub(crate) fn pid_file(&self, process: &str) -> PathBuf {
        self.dir.join(format!("{process}.pid"))
    }

    /// `program` in the node's environment, and in none of the user's that concerns RabbitMQ or Erlang.
    pub(crate) fn command(&self, program: &Path, ports: Ports) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let foreign =
                name.to_str().is_some_and(|name| name.starts_with("RABBITMQ_") || name.starts_with("ERL_"));
            if foreign {
                command.env_remove(name);
            }
        }
        command
            .env(OWNER_VARIABLE, &self.dir)
            .env("HOME", &self.dir) // the cookie is written there
            .env("LANG", "C.UTF-8")
            .env("RABBITMQ_NODENAME", &self.node_name)
            .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.data())
            .env("RABBITMQ_LOG_BASE", self.dir.join("log"))
            .env("RABBITMQ_CONFIG_FILE", self.dir.join("rabbitmq"))
            .env("RABBITMQ_CONF_ENV_FILE", self.dir.join("none.conf")) // not the system's
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.dir.join("enabled_plugins"))
            .env("RABBITMQ_PID_FILE", self.dir.join("rabbitmq.pid"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG_ARGUMENTS)
            // Makes the start script replace itself by the node, so that our child is the node and nothing else.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("ERL_EPMD_PORT", ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_CRASH_DUMP_SECONDS", "0"); // a killed node must not write hundreds of megabytes
        command
    }

    /// The end of what the node wrote, for an error message.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.dir.join("log").join(format!("{}.log", self.node_name));
        let mut text = String::new();
        for file in [self.output(), log] {
            text.push_str(
                &fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default(),
            );
        }
        let mut start = text.len().saturating_sub(LOG_TAIL_BYTES);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text[start..].trim().to_owned()
    }
}

fn make_private(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(OWNER_ONLY))
}

/// Two schedulers that never spin and listen to this machine only: a private node must not slow down what it
/// serves.
const ERLANG_ARGUMENTS: &str =
    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}";

pub(crate) fn write(path: &Path, text: &str) -> Result<(), DevBrokerError> {
    fs::write(path, text).map_err(DevBrokerError::io(format!("write {}", path.display())))
}
