//! The node as its owner sees it.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Child,
    time::{Instant, sleep, timeout},
};

use crate::{
    DevBrokerError, home,
    layout::{Layout, write},
    leftovers::{self, signal},
    ports::Ports,
    watchdog::Watchdog,
};

/// How to start a private node.
#[derive(Clone, Debug)]
pub struct DevBrokerOptions {
    /// Everything the node writes goes here. Reusing a folder keeps queues and messages.
    pub dir: PathBuf,
    /// How long the node may take to come up. Default 60 s (6 s are usual).
    pub start_timeout: Duration,
    /// How long it may take to stop in order before it is killed. Default 20 s.
    pub stop_timeout: Duration,
    /// Whether to delete what an earlier node stored in the folder before starting. Default no.
    pub fresh: bool,
    /// The folder of a RabbitMQ, with its scripts in `sbin` or `bin`. Default: what
    /// [`HOME_VARIABLE`](crate::HOME_VARIABLE) says; without one, where the distribution's package puts it.
    pub home: Option<PathBuf>,
    /// The port for AMQP, if it is free. Default: any that is.
    pub amqp_port: Option<u16>,
    /// Further lines for its `rabbitmq.conf`. Default: none.
    pub configuration: String,
}

impl DevBrokerOptions {
    /// The defaults for a node in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            start_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(20),
            fresh: false,
            home: home::named(),
            amqp_port: None,
            configuration: String::new(),
        }
    }

    /// The same, beginning with an empty node.
    #[must_use]
    pub fn fresh(self) -> Self {
        Self { fresh: true, ..self }
    }
}

/// A running private node. Dropping it kills the node at once; [`stop`](Self::stop) stops it in order.
pub struct DevBroker {
    options: DevBrokerOptions,
    /// RabbitMQ's own.
    scripts: PathBuf,
    layout: Layout,
    ports: Ports,
    node: Option<Child>,
    epmd: Option<Child>,
    /// Dropping it is what kills the two above.
    watchdog: Watchdog,
    /// Last: the folder is free when nothing uses it any more.
    _lock: Arc<File>,
}

/// How often ports are chosen anew because somebody else was faster.
const PORT_ATTEMPTS: usize = 3;

/// How often is looked whether the node is up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long `rabbitmqctl` may take.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(60);

/// The protocol header of AMQP 0-9-1.
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

impl DevBroker {
    /// Starts a node and waits until it takes connections. Ends a node that an earlier owner left in the folder.
    ///
    /// # Errors
    ///
    /// [`DevBrokerError`], with the end of the node's log when it did not come up. Nothing is left running then.
    pub async fn start(options: DevBrokerOptions) -> Result<Self, DevBrokerError> {
        let scripts = home::scripts(options.home.as_deref())?;
        let layout = Layout::open(&options.dir)?;
        let lock = Arc::new(layout.lock()?);
        leftovers::end(&layout).await?;
        if options.fresh {
            layout.wipe()?;
        }
        let mut attempt = 1;
        loop {
            let mut broker = Self {
                options: options.clone(),
                scripts: scripts.clone(),
                layout: layout.clone(),
                // Whoever was faster once has it still.
                ports: Ports::choose(options.amqp_port.filter(|_| attempt == 1))?,
                node: None,
                epmd: None,
                watchdog: Watchdog::start()?,
                _lock: lock.clone(),
            };
            match broker.boot().await {
                Ok(()) => return Ok(broker),
                Err(DevBrokerError::EndedWhileStarting { log_tail })
                    if attempt < PORT_ATTEMPTS && log_tail.contains("eaddrinuse") =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
            broker.end().await?;
        }
    }

    /// The URL of one of the node's virtual hosts, `/` being the one that always exists.
    pub fn url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{}", self.ports.amqp, vhost.replace('/', "%2f"))
    }

    /// The port for AMQP on 127.0.0.1. It stays the same over [`restart`](Self::restart).
    pub fn amqp_port(&self) -> u16 {
        self.ports.amqp
    }

    /// The folder with everything that the node writes.
    pub fn dir(&self) -> &Path {
        &self.layout.dir
    }

    /// The node's process id; `None` when it is not running.
    pub fn pid(&self) -> Option<u32> {
        self.node.as_ref().and_then(Child::id)
    }

    /// Runs `rabbitmqctl` against this node and returns what it printed. Takes about half a second.
    ///
    /// # Errors
    ///
    /// [`DevBrokerError::Control`], with what it printed.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String, DevBrokerError> {
        let mut command = self.layout.command(&self.scripts.join(home::CONTROL), self.ports);
        command.arg("--quiet").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let failed = |output: String| DevBrokerError::Control { arguments: arguments.join(" "), output };
        let output = timeout(CONTROL_TIMEOUT, command.output())
            .await
            .map_err(|_| failed(format!("no answer within {CONTROL_TIMEOUT:?}")))?
            .map_err(DevBrokerError::io("run rabbitmqctl"))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Ok(text);
        }
        Err(failed(format!("{text}\n{}", String::from_utf8_lossy(&output.stderr)).trim().to_owned()))
    }

    /// Adds virtual hosts that `guest` may do everything in; existing ones are left as they are. One call for many
    /// costs little more than for one.
    ///
    /// # Errors
    ///
    /// [`DevBrokerError::Control`].
    pub async fn add_vhosts(&self, names: &[&str]) -> Result<(), DevBrokerError> {
        let mut program = String::new();
        for name in names {
            program.push_str(&format!(
                "rabbit_vhost:add(<<\"{name}\">>, <<\"dev-broker\">>), \
                 ok = rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"{name}\">>, \
                 <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"dev-broker\">>), "
            ));
        }
        program.push_str("ok.");
        self.ctl(&["eval", &program]).await.map(drop)
    }

    /// Writes the node's registries to disk.
    ///
    /// RabbitMQ 3.10 registers a new quorum queue in a file that it writes half a second later at the earliest. A node
    /// that is killed before that forgets which log belongs to the queue: the queue comes back empty, without a
    /// leader, and takes nothing. Whoever declares queues and then kills the node calls this in between.
    ///
    /// # Errors
    ///
    /// [`DevBrokerError::Control`].
    pub async fn sync(&self) -> Result<(), DevBrokerError> {
        self.ctl(&["eval", "[ok = dets:sync(Table) || Table <- dets:all()], ok."]).await.map(drop)
    }

    /// Kills the node (SIGKILL) and nothing else; its data stay, except as [`sync`](Self::sync) says.
    ///
    /// # Errors
    ///
    /// [`DevBrokerError::NotRunning`], or an error of the system.
    pub async fn kill(&mut self) -> Result<(), DevBrokerError> {
        self.signal(Signal::KILL)?;
        self.reap_node().await
    }

    /// Starts the node again, on the same ports and data; kills it first when it is running.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<(), DevBrokerError> {
        if self.node.is_some() {
            self.kill().await?;
        }
        self.boot_node().await
    }

    /// Deletes everything that the node stored. It must not be running.
    ///
    /// # Errors
    ///
    /// An error of the file system.
    pub fn wipe(&mut self) -> Result<(), DevBrokerError> {
        self.layout.wipe()
    }

    /// Freezes the node (SIGSTOP).
    ///
    /// # Errors
    ///
    /// [`DevBrokerError::NotRunning`], or an error of the system.
    pub fn suspend(&self) -> Result<(), DevBrokerError> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen node go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// [`DevBrokerError::NotRunning`], or an error of the system.
    pub fn resume(&self) -> Result<(), DevBrokerError> {
        self.signal(Signal::CONT)
    }

    /// Stops the node in order, kills it when that takes too long, and returns when no process is left.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub async fn stop(mut self) -> Result<(), DevBrokerError> {
        if let Some(node) = &mut self.node {
            if let Some(pid) = node.id() {
                signal(to_raw(pid), Signal::TERM)?;
            }
            // One that does not stop in order is killed below.
            let _ = timeout(self.options.stop_timeout, node.wait()).await;
        }
        self.end().await?;
        leftovers::none_left(&self.layout).await
    }

    /// Kills whatever still runs and waits until it is gone.
    async fn end(&mut self) -> Result<(), DevBrokerError> {
        self.reap_node().await?;
        if let Some(mut epmd) = self.epmd.take() {
            let pid = epmd.id();
            epmd.kill().await.map_err(DevBrokerError::io("end epmd"))?;
            self.forget(pid, "epmd")?;
        }
        Ok(())
    }

    async fn boot(&mut self) -> Result<(), DevBrokerError> {
        // A name service of our own, as our own child: the one that Erlang starts by itself runs away as a daemon.
        let epmd = find_program("epmd")?;
        let child = self.spawn(&epmd, &[])?;
        self.note(&child, "epmd")?;
        self.epmd = Some(child);
        self.boot_node().await
    }

    async fn boot_node(&mut self) -> Result<(), DevBrokerError> {
        let started = Instant::now();
        self.layout.write_configuration(self.ports, &self.options.configuration)?;
        let script = self.scripts.join(home::SERVER);
        let child = self.spawn(&script, &[])?;
        self.note(&child, "node")?;
        self.node = Some(child);
        match timeout(self.options.start_timeout, self.up()).await {
            Ok(result) => result?,
            Err(_) => {
                let log_tail = self.layout.log_tail();
                self.kill().await?;
                return Err(DevBrokerError::StartTimeout { after: self.options.start_timeout, log_tail });
            }
        }
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            port = self.ports.amqp,
            pid = self.pid(),
            elapsed_ms,
            "The private RabbitMQ node is up."
        );
        Ok(())
    }

    fn spawn(&self, program: &Path, arguments: &[&str]) -> Result<Child, DevBrokerError> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.layout.output())
            .map_err(DevBrokerError::io("open the node's output file"))?;
        let errors = output.try_clone().map_err(DevBrokerError::io("open the node's output file"))?;
        self.layout
            .command(program, self.ports)
            .args(arguments)
            .current_dir(&self.layout.dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0) // a Ctrl-C in the terminal is for the owner, which stops the node in order
            .spawn()
            .map_err(DevBrokerError::io(format!("start {}", program.display())))
    }

    /// Waits until the node answers the first bytes of a connection, or its process ends.
    async fn up(&mut self) -> Result<(), DevBrokerError> {
        loop {
            let ended = match &mut self.node {
                Some(node) => node.try_wait().map_err(DevBrokerError::io("look after the node"))?.is_some(),
                None => true,
            };
            if ended {
                let log_tail = self.layout.log_tail();
                self.reap_node().await?;
                return Err(DevBrokerError::EndedWhileStarting { log_tail });
            }
            if answers(self.ports.amqp).await {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn signal(&self, which: Signal) -> Result<(), DevBrokerError> {
        let pid = self.pid().ok_or(DevBrokerError::NotRunning)?;
        signal(to_raw(pid), which)
    }

    /// Kills the node if it still runs, and waits until it is gone.
    async fn reap_node(&mut self) -> Result<(), DevBrokerError> {
        let Some(mut node) = self.node.take() else { return Ok(()) };
        let pid = node.id();
        node.kill().await.map_err(DevBrokerError::io("end the node"))?;
        self.forget(pid, "node")
    }

    fn note(&mut self, child: &Child, process: &str) -> Result<(), DevBrokerError> {
        let Some(pid) = child.id() else { return Ok(()) };
        self.watchdog.watch(pid)?;
        write(&self.layout.pid_file(process), &pid.to_string())
    }

    fn forget(&mut self, pid: Option<u32>, process: &str) -> Result<(), DevBrokerError> {
        // A note that stays behind is checked before anything is done with it.
        let _ = fs::remove_file(self.layout.pid_file(process));
        pid.map_or(Ok(()), |pid| self.watchdog.forget(pid))
    }
}

/// Whether an AMQP 0-9-1 broker answers on the port.
async fn answers(port: u16) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(PROTOCOL_HEADER).await?;
        let mut first = [0_u8; 1];
        stream.read_exact(&mut first).await?;
        std::io::Result::Ok(first[0])
    };
    // The first frame, connection.start, is a method frame (type 1).
    matches!(timeout(Duration::from_secs(2), greeting).await, Ok(Ok(1)))
}

fn find_program(name: &str) -> Result<PathBuf, DevBrokerError> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.exists());
    found.ok_or_else(|| DevBrokerError::NotInstalled { missing: PathBuf::from(name) })
}

fn to_raw(pid: u32) -> i32 {
    i32::try_from(pid).unwrap_or(0)
}
