// SPDX-License-Identifier: Apache-2.0

package view

import "time"

// Socket is the name of the debug socket in the instance's directory. It
// speaks HTTP, to processes of the server's own user only.
const Socket = "debug.sock"

// The paths. A container's own document is at Containers/NAMESPACE/ID, its
// flight record at Flights/NAMESPACE/ID.
const (
	Metrics    = "/metrics"       // Prometheus text
	Servers    = "/v1/server"     // Server
	Containers = "/v1/containers" // []Container; ?usage=1 measures each
	Flights    = "/v1/flights"    // []Flight, without their events
	Log        = "/v1/log"        // text; ?lines=N
	LogLevel   = "/v1/log-level"  // text: GET, or PUT a new one
	Pprof      = "/debug/pprof/"
)

// Server is the server itself.
type Server struct {
	Instance   string    `json:"instance"` // its directory
	Version    string    `json:"version"`
	Pid        int       `json:"pid"`
	Spawner    int       `json:"spawner"`
	Socket     string    `json:"socket"` // of the task API
	Containerd string    `json:"containerd"`
	Started    time.Time `json:"started"`
	Containers int       `json:"containers"`
	LogLevel   string    `json:"log_level"`
	Tracing    string    `json:"tracing,omitempty"` // where spans go
}

// Container is a line of a list.
type Container struct {
	Namespace string    `json:"namespace"`
	ID        string    `json:"id"`
	Status    string    `json:"status"`
	Pid       int       `json:"pid,omitempty"`
	Created   time.Time `json:"created"`
	Execs     int       `json:"execs"` // that run
	Exit      *Exit     `json:"exit,omitempty"`
	Usage     *Usage    `json:"usage,omitempty"` // when asked for, and readable in time
}

// Exit is how a process ended.
type Exit struct {
	Status int       `json:"status"` // exit code, or 128 plus the signal
	At     time.Time `json:"at"`
}

// Usage is what a container used, by its cgroup. What the host does not count
// is left out.
type Usage struct {
	At          time.Time            `json:"at"`
	Memory      uint64               `json:"memory"`
	MemoryLimit uint64               `json:"memory_limit,omitempty"` // none: no limit
	MemoryPeak  uint64               `json:"memory_peak,omitempty"`
	Swap        uint64               `json:"swap,omitempty"`
	CPU         time.Duration        `json:"cpu_ns"`
	Throttled   time.Duration        `json:"throttled_ns,omitempty"`
	Pids        uint64               `json:"pids"`
	PidsLimit   uint64               `json:"pids_limit,omitempty"`
	ReadBytes   uint64               `json:"read_bytes"`
	WriteBytes  uint64               `json:"write_bytes"`
	OOMKills    uint64               `json:"oom_kills,omitempty"`
	Pressure    map[string]*Pressure `json:"pressure,omitempty"` // of cpu, memory, io
}

// Pressure is the time that work stood still for want of something.
type Pressure struct {
	Some time.Duration `json:"some_ns"` // of at least one process
	Full time.Duration `json:"full_ns"` // of all of them
}

// Inspect is all that the server knows of a container.
type Inspect struct {
	Container
	Bundle    string    `json:"bundle"`
	Processes []Process `json:"processes"` // init first
	Owned     *Owned    `json:"owned,omitempty"`
	Mounts    []Mount   `json:"mounts,omitempty"` // in its mount namespace, while init lives
	Spec      Spec      `json:"spec"`
	OOMs      uint64    `json:"oom_kills_reported"`
}

// Process is init, whose ID is empty, or an exec.
type Process struct {
	ID       string `json:"id,omitempty"`
	Status   string `json:"status"`
	Pid      int    `json:"pid,omitempty"`
	Terminal bool   `json:"terminal,omitempty"`
	Stdin    string `json:"stdin,omitempty"`
	Stdout   string `json:"stdout,omitempty"`
	Stderr   string `json:"stderr,omitempty"`
	Exit     *Exit  `json:"exit,omitempty"`
}

// Owned is the ledger: what exists on the host for a container and goes with
// it.
type Owned struct {
	Cgroup      string            `json:"cgroup"`
	CgroupDirs  []string          `json:"cgroup_dirs"`
	Pids        []int             `json:"pids"`
	Descriptors map[string]string `json:"descriptors"` // of the server: number -> what it is open on
	Journal     string            `json:"journal"`
	Undo        []string          `json:"undo"` // what Delete will do, in that order
}

// Mount is one of a container's mounts.
type Mount struct {
	Target  string `json:"target"`
	Type    string `json:"type"`
	Source  string `json:"source"`
	Options string `json:"options"`
}

// Spec is what of config.json the server keeps.
type Spec struct {
	Version     string            `json:"version,omitempty"`
	Args        []string          `json:"args,omitempty"`
	Cwd         string            `json:"cwd,omitempty"`
	UID         uint32            `json:"uid"`
	GID         uint32            `json:"gid"`
	Namespaces  map[string]string `json:"namespaces"` // type -> path that is joined, or "new"
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Flight is the flight record of a container: its last events, also for an
// hour after it is gone.
type Flight struct {
	Namespace string     `json:"namespace"`
	ID        string     `json:"id"`
	Gone      *time.Time `json:"gone,omitempty"` // since when the container is no more
	Cause     string     `json:"cause"`          // how it stands with it, or why it ended, in a sentence
	Dropped   int        `json:"dropped,omitempty"`
	Events    []Event    `json:"events,omitempty"`
}

// Event is something that happened to a container, to its init or, with
// Process, to an exec.
type Event struct {
	At      time.Time     `json:"at"`
	What    string        `json:"what"`
	Process string        `json:"process,omitempty"`
	Pid     int           `json:"pid,omitempty"`
	Took    time.Duration `json:"took_ns,omitempty"`
	Status  int           `json:"status,omitempty"` // of an exit
	Signal  int           `json:"signal,omitempty"` // that caused the exit, or was sent
	Detail  string        `json:"detail,omitempty"`
}

// What happens to containers; phases are Phase and a name.
const (
	Create       = "create"
	CreateFailed = "create failed"
	Created      = "created"
	Start        = "start"
	StartFailed  = "start failed"
	Started      = "started"
	Killed       = "signal"
	Exited       = "exit"
	OOM          = "oom"
	Deleted      = "deleted"
	DeleteFailed = "delete failed"
	Phase        = "phase "
)
