//! The table of messages: an id once given stays, and no id is used for anything else.

use super::Entry;

macro_rules! messages {
    ($($name:ident = $id:literal, $title:literal, $cause:literal, $remedy:literal;)+) => {
        /// A kind of message in the journal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Message {
            $(#[doc = $title] $name,)+
        }

        impl Message {
            /// Every message.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it is and what to do about it.
            pub fn entry(self) -> Entry {
                match self {
                    $(Self::$name => Entry { id: $id, title: $title, cause: $cause, remedy: $remedy },)+
                }
            }
        }
    };
}

messages! {
    Ready = "eb32e9d4015d44caac28469f5ede4731", "The daemon is ready",
    "The ledger is open, tasks of the start before are recovered, and the control socket answers.",
    "`exportctl status` tells how everything is.";
    Stopping = "355b236937f14bc49f91da51713d407f", "The daemon stops",
    "Somebody asked it to. Running tasks are put away at a page boundary and go on at the next start; nothing \
     is lost.",
    "`systemctl start saas-export-daemon` starts it again.";
    NotStarted = "a430cd5519634beda3ba7b08abd41220", "The daemon cannot start",
    "What it needs to start is not there: the line says what. Where it is the configuration, systemd does not \
     try again until somebody has mended it (exit code 78).",
    "Check the files with `saas-export-daemon --check-config`, mend what it says, then `systemctl restart \
     saas-export-daemon`.";
    Reloaded = "087fcdd0553c433b99316d639160b436", "The configuration was read again",
    "@EXPORT_ACTOR@ asked for it. New tasks use it; open tasks keep the one they were made with, except for \
     secrets, rates and limits.",
    "Where something needs a restart: `systemctl restart saas-export-daemon`; tasks go on exactly where they \
     stand.";
    ReloadRefused = "354454b4f34547439d40cc84a892c680", "The configuration was not reloaded",
    "It has mistakes. The one before it stays in force, as a whole.",
    "`exportctl config check` lists the mistakes with file and line; mend them, then `exportctl reload`.";
    TaskQueued = "72551ee1bc07422aa85b14ae91aba6ad", "A task was queued",
    "@EXPORT_ACTOR@ asked for a run of export @EXPORT_NAME@. It starts when a slot is free \
     (`daemon.parallel`) and its window is open.",
    "`exportctl watch @EXPORT_TASK@` follows it; `exportctl cancel @EXPORT_TASK@` takes it back.";
    TaskStarted = "bad7d4b0a8b745c29cf59513c23a91e9", "A task runs",
    "Task @EXPORT_TASK@ of export @EXPORT_NAME@ reads its source, from where it stood.",
    "`exportctl watch @EXPORT_TASK@` follows it.";
    TaskProgress = "e439bb96a77948169eadd1e07e5c663e", "A task goes on",
    "A line every `daemon.progress_every`, so that a long task can be told from one that hangs.",
    "`exportctl watch @EXPORT_TASK@` shows more, and now.";
    TaskPaused = "98da818779c4488085309ea34923d276", "A task is paused",
    "@EXPORT_ACTOR@ paused it. It keeps what it has fetched, also over restarts; deliveries go on.",
    "`exportctl resume @EXPORT_TASK@` lets it go on, at the head of the queue.";
    TaskResumed = "cc3d65f7ee904d7fa29222b5283a70b1", "A paused task goes on",
    "@EXPORT_ACTOR@ resumed it. It goes on exactly where it stood.",
    "`exportctl show @EXPORT_TASK@` tells where it stands.";
    TaskRequeued = "a4d8ad1870b94a8998920274466f38ce", "A task is in the queue again",
    "Somebody retried it, its window closed, or the daemon stopped while it ran: the line says which. It goes \
     on exactly where it stood.",
    "`exportctl show @EXPORT_TASK@` tells where it stands.";
    TaskSucceeded = "3f665e8e6cb54e9cb1b1f845464e3136", "A task has succeeded",
    "Every record of task @EXPORT_TASK@ is accounted for, every file is verified at every destination, and \
     the manifests are published.",
    "`exportctl files @EXPORT_NAME@ --latest` lists the files.";
    TaskFailed = "2752ac5547534d969969f19890102ddd", "A task has failed",
    "Task @EXPORT_TASK@ of export @EXPORT_NAME@ could not be finished, and trying again by itself would not \
     help; the line says why (class: @EXPORT_ERROR_CLASS@). What was published before is untouched, and what \
     it has fetched is kept.",
    "Mend what the line names, then `exportctl retry @EXPORT_TASK@`: it goes on from where it stands. \
     `exportctl logs @EXPORT_TASK@` shows every line about it.";
    TaskRetries = "3288c2c16875487a9da67aea7401bf75", "A task will be tried again",
    "Task @EXPORT_TASK@ failed of something that may pass by itself (class: @EXPORT_ERROR_CLASS@). It is \
     tried again, up to `attempts` times without progress.",
    "Nothing, unless it repeats: then `exportctl check @EXPORT_NAME@` tries each step of the way.";
    TaskCancelled = "8edaf0b6cf8648cb8be2d1878abaf7db", "A task was cancelled",
    "@EXPORT_ACTOR@ cancelled it. Nothing of it is published; its files are swept after `keep.unpublished`.",
    "`exportctl retry @EXPORT_TASK@` lets it go on after all.";
    TaskWaits = "8998633617664068a4c68720cfd78096", "A task waits",
    "Task @EXPORT_TASK@ cannot go on now; the line says what it waits for. It goes on by itself.",
    "`exportctl status` shows the reason as it is now. `exportctl show @EXPORT_TASK@` tells where it stands.";
    TaskRecovered = "5f8dca04cec6474ab1e20c25e36b5951", "A task was recovered",
    "The daemon, or the machine, ended while task @EXPORT_TASK@ ran. The ledger knows where it stood; at most \
     `daemon.replay_limit` of fetching is repeated, and nothing is exported twice.",
    "If that was no power failure or update: `journalctl -b -1 -u saas-export-daemon -p warning` for what \
     came before.";
    RateLimited = "c695944285ea4a1f8c9675df722540cc", "The source asks for fewer requests (429)",
    "Source @EXPORT_SOURCE@ refuses requests because there are too many. The daemon waits as long as the \
     source says and learns its pace; nothing is lost.",
    "If others use the same account, or it never gets better, set \
     `sources.@EXPORT_SOURCE@.rest.rate.per_second` lower and `exportctl reload`. `exportctl status` shows \
     the pace.";
    ServerError = "60911a36eafd44678ee0df9327ac502d", "The source answers with a server error (5xx)",
    "Source @EXPORT_SOURCE@ or something before it failed (502, 503, ...). The request is sent again, with \
     growing pauses (`retry`).",
    "If it stays, ask those who run the source; smaller pages often help. `exportctl check @EXPORT_NAME@` \
     tries it now.";
    ConnectionBroken = "8c4c47a162ee4d33be3a4711fbb1d4e5", "A connection to the source broke",
    "The connection to source @EXPORT_SOURCE@ could not be made, or ended before the answer was whole \
     (connection reset, broken pipe). The request is sent again.",
    "If it repeats, look at what lies between: firewall, proxy, name server. `exportctl check @EXPORT_NAME@` \
     tries name, connection and TLS one after the other.";
    TimedOut = "56cf3854391044a2852f0179b6cd8346", "The source took too long to answer",
    "Nothing came from source @EXPORT_SOURCE@ within `keep_alive.read_timeout`, or no whole answer within \
     `keep_alive.answer_timeout`. The request is sent again.",
    "If it repeats, ask for smaller pages, or raise these keys in `sources.@EXPORT_SOURCE@.rest` and \
     `exportctl reload`.";
    BadAnswer = "82f52071896f4fa7ad2b6d7f2d5ede00", "An answer of the source was damaged",
    "An answer of source @EXPORT_SOURCE@ broke off or is not what its own digest says. It is not used; the \
     request is sent again.",
    "If it repeats, something on the way changes answers: look at proxies. `exportctl check @EXPORT_NAME@` \
     tries it now.";
    AuthFailed = "10d71ce2bc994362b8bc1e90ecdf7ae0", "Credentials are refused",
    "The source or a destination does not accept the credentials of export @EXPORT_NAME@: they are wrong, \
     expired, revoked or may not do this.",
    "Put new ones into /etc/export/auth.env, `systemctl restart saas-export-daemon`, `exportctl check \
     @EXPORT_NAME@`, then `exportctl retry @EXPORT_TASK@`. For a login by browser: `saas-export-daemon auth \
     login`.";
    CredentialTrouble = "8a38f25557cb4d90a3a8168e76cc88aa", "A credential could not be renewed",
    "The token server did not give a new token, or the new one could not be kept.",
    "`exportctl check` tries it now. If the login has ended: `saas-export-daemon auth login`.";
    ChecksumMismatch = "14648d5020024271b7f499d932412563", "A checksum differs",
    "What is stored at @EXPORT_DESTINATION@ is not what was sent, or a file was damaged on this machine. It \
     is not published; it is sent or made again.",
    "Once may be the network; again points at a disk, memory or proxy. `exportctl verify @EXPORT_TASK@ \
     --deep` reads every byte; look at `dmesg` and `smartctl -a` of the disk.";
    Conflict = "3fc9844fff97485e8594b7939c810d64", "Another file is already at the destination",
    "An object of the same name with other content is at @EXPORT_DESTINATION@. The daemon never overwrites: \
     somebody else writes there, or a second daemon has the same configuration.",
    "Move the file that the line names away, or give this export a place of its own, then `exportctl retry \
     @EXPORT_TASK@`.";
    DiskFull = "39f7a40028c04812b2a54e232b39f94c", "A disk is full",
    "There is no room for the next file; the line says where. Reading waits, deliveries go on, nothing is \
     lost.",
    "Make room, or lower `keep`; then `exportctl prune --dry-run` shows what may go. It goes on by itself.";
    SpoolFull = "c1f405251269471aa02835819e06f20a", "The spool is full",
    "As much as `daemon.spool_quota` allows waits for a destination that is slow or away. Reading waits until \
     something is delivered.",
    "`exportctl status` names the destination. If it stays away: `exportctl deliver TASK --drop DESTINATION`, \
     and `--to` fills it back later. Or raise the quota and `exportctl reload`.";
    DestinationAway = "b2dea0089ae84cbb98f7f678888e1ede", "Deliveries to a destination fail",
    "@EXPORT_DESTINATION@ cannot be reached or refuses (class: @EXPORT_ERROR_CLASS@). Files wait in the spool \
     and are sent again; other destinations and reading go on.",
    "`exportctl check @EXPORT_NAME@` tries it now. If it is gone for good: `exportctl deliver @EXPORT_TASK@ \
     --drop @EXPORT_DESTINATION@`.";
    DestinationBack = "dd10d862fbd9402c8a92d0ddf20edfec", "A destination is back",
    "Deliveries to @EXPORT_DESTINATION@ work again; what waited is being sent.",
    "";
    DeliveriesWait = "8ace3f17cfd34508b6f76ec06174d850", "Deliveries of a task wait",
    "What is left to be delivered of task @EXPORT_TASK@ cannot be now; the line says why. It goes on by \
     itself.",
    "`exportctl show @EXPORT_TASK@` shows each destination.";
    SchemaChanged = "8c4b9d5b392049189df8e970bf7d7428", "The schema of a stream has changed",
    "Stream @EXPORT_STREAM@ of export @EXPORT_NAME@ has other fields or types than before; the line says \
     which happened. No value is lost: what does not fit is in `_rescued`.",
    "`exportctl schema diff @EXPORT_NAME@` shows the difference. To keep a schema fixed, declare it in the \
     stream's `schema`.";
    RecordsRejected = "f0eef2da0d5a44ad8309998adcdb0fc4", "Records were rejected",
    "Records of stream @EXPORT_STREAM@ do not pass its checks. They are in the quarantine, not in the files; \
     the task fails only beyond `max_rejected`.",
    "`saas-export-daemon quarantine @EXPORT_TASK@ @EXPORT_STREAM@` shows them with the reason.";
    ShiftDetected = "b4afa23ac1bc415190680d659c975588", "Pages have shifted while they were read",
    "Records were added or removed in front of the place where stream @EXPORT_STREAM@ was being read. It goes \
     back and reads that part again, so that nothing is missing or twice.",
    "If it repeats, ask for an order that changes do not touch, smaller partitions or a cursor: \
     docs/paging.md.";
    ReadAgain = "22d04f79e6c448a5b38ea10b4f2acfc3", "Pages are read again",
    "A page journal on this machine did not fit the source any more, or could not be opened. Its pages are \
     read again; nothing is missing or twice.",
    "";
    Assembled = "f40842581de14f0ebc9ddf40f1c67208", "A single file was put together",
    "The parts of stream @EXPORT_STREAM@ were joined, as `layout: single` wants.",
    "";
    Published = "99d6551f30b545e9bec851b3ea03cb7a", "A manifest was published",
    "All files of stream @EXPORT_STREAM@ are verified at @EXPORT_DESTINATION@, and its manifest says so to \
     readers.",
    "`exportctl files @EXPORT_TASK@` lists the files.";
    LatestStays = "df8ee0a6731344f0808075374c731390", "latest.json was not moved as usual",
    "It stays with a newer task, was damaged, or the destination lacks the start of the chain: the line says \
     which.",
    "Where the start is missing: `exportctl run @EXPORT_NAME@ --full` starts a new chain.";
    LeftBehind = "6436d20d251b47a9b53c44db27d6ad3e", "An object could not be removed",
    "An object that no manifest lists stays at @EXPORT_DESTINATION@, because it may not be deleted there. \
     Readers do not see it.",
    "Allow the daemon to delete there, or remove what the line names by hand.";
    RetentionRemoved = "8f051d0681b7433990d831bc385a0026", "Retention has removed files",
    "A chain of export @EXPORT_NAME@ is older than `keep` wants, or files of an ended task were never \
     published. The newest chain is never touched.",
    "`exportctl prune --dry-run` shows what goes next, and why.";
    RetentionTrouble = "978a5d318347413d837a58c53e447084", "Retention could not remove files",
    "A destination did not let the daemon look or remove. It is tried again later; readers see a data set as \
     a whole or not at all.",
    "`exportctl prune --dry-run` shows what waits. The credentials of the destination need the right to \
     delete.";
    LedgerTrouble = "6e4917e28e704a97a9d18978ace836a3", "The ledger does not take a change",
    "The database below `daemon.state_dir` could not be written or read: mostly a full or failing disk. No \
     offset moves without it, so nothing is lost or exported twice; tasks wait.",
    "`df -h` and `df -i` of the state directory, `dmesg` for errors of the disk; then it goes on by itself, \
     or `systemctl restart saas-export-daemon`.";
    SnapshotTrouble = "0e729ce875c04989993f79a966a25be4", "A snapshot of the ledger could not be taken",
    "The daemon takes one every `daemon.snapshots.every`, and could not: the line says why, mostly for want of room. Exports go \
     on, and it is tried again within the hour.",
    "Make room below `daemon.state_dir`, or lower `daemon.snapshots.keep`; then `exportctl ledger backup` tries at once. \
     `exportctl ledger check` tells whether the ledger itself is as it should be.";
    HistoryTrouble = "7500175fd2654f6797e62409e7e27762", "Old history could not be removed from the ledger",
    "What ended before `daemon.history` is to be forgotten, and that did not work: the line says why. It is tried again within \
     the hour, and nothing else waits for it.",
    "If it repeats: `exportctl ledger check`, and `df -h` of `daemon.state_dir`.";
    ScheduleSkipped = "0f15e6ac1bf74de1bbf48604951f0b0b", "A scheduled run was skipped",
    "When export @EXPORT_NAME@ was due its run before had not ended, or several were missed while the daemon \
     was down: they become one.",
    "If that is usual, the export takes longer than its schedule allows: `exportctl tasks --export \
     @EXPORT_NAME@`.";
    ScheduleTrouble = "5d0f7c0c1d7b4c0f9a1be1a36f0d4e27", "A scheduled run could not be made",
    "The schedule of export @EXPORT_NAME@ could not be looked at, or its run was refused: the line says why. It is tried \
     again until it works, and nothing that was due is lost.",
    "`exportctl schedule` and `exportctl check @EXPORT_NAME@` show more; mend what the line names.";
    NotificationFailed = "8d4566038f0844b283e92a9dbd989ec7", "A notification could not be sent",
    "The mail server or webhook did not take it. It stays in the outbox and is sent again.",
    "Check the `notify` settings that the line names, and that the machine may reach the server.";
    StreamStale = "78f00e36cd014c99b9282de031e055a3", "A stream is stale",
    "Stream @EXPORT_STREAM@ of export @EXPORT_NAME@ has not been exported with success for longer than \
     `exports.@EXPORT_NAME@.freshness` allows.",
    "`exportctl tasks --export @EXPORT_NAME@` tells what its last tasks did; `exportctl run @EXPORT_NAME@ \
     --wait` tries now.";
    StreamFresh = "0720a0eb3285442bb5304d819bdac953", "A stream is fresh again",
    "Stream @EXPORT_STREAM@ of export @EXPORT_NAME@ was exported with success after it had been stale.",
    "";
    ControlTrouble = "47ba07dcf1af44d4833f56d8dfe5cc4d", "Trouble with a request to the daemon",
    "A connection to the control socket or the metrics listener could not be served, or a download broke off.",
    "If it repeats: `exportctl status`, and the limits of open files of the service (`LimitNOFILE=`).";
    SystemTrouble = "d556cdf2b20e42258e096e365834f05f", "Trouble with systemd or the watchdog",
    "systemd could not be told how the daemon is, or the dispatcher or the ledger has not answered for a \
     while. If that lasts, the watchdog restarts the daemon; tasks go on where they stood.",
    "`systemctl status saas-export-daemon`; look for a hanging disk or mount (`dmesg`).";
    Bug = "f2df663229cb44de808c91e1e13bc9a8", "The daemon met a bug of its own",
    "Something happened that must not happen, or the daemon died each time it ran this task. It stops rather \
     than to write something wrong; a restart recovers every task from the ledger.",
    "Please report the lines around this one: `exportctl logs @EXPORT_TASK@`, or `journalctl -u \
     saas-export-daemon -n 200`. Then `exportctl retry @EXPORT_TASK@`.";
}
