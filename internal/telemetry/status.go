package telemetry

import "time"

// Status is what a running gateway says about itself: GET /api/v1/status on
// the admin listener, as JSON. The CLI, the demo and the console all show this
// one struct; a field is only ever added.
type Status struct {
	Gateway string    `json:"gateway"` // gateway.id
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Uptime  float64   `json:"uptime_seconds"`
	Ready   bool      `json:"ready"` // takes devices' messages; the cloud may be away
	Clock   string    `json:"clock"` // synchronised | unsynchronised

	Upstreams []Upstream `json:"upstreams"` // sorted by name
	Queues    []Queue    `json:"queues"`    // sorted by name
	Steps     []Step     `json:"steps"`     // sorted by queue and step
	Devices   Devices    `json:"devices"`
	Spool     SpoolState `json:"spool"`
	Rates     Rates      `json:"rates"`
	Bill      BillState  `json:"bill"`
	Files     *Files     `json:"files,omitempty"` // with file transfer only

	Policy PolicyState `json:"policy"`

	Quotas       []Quota       `json:"quotas"`        // AWS's quotas of pace, in its order
	SilentCloses []SilentClose `json:"silent_closes"` // by reason
	Requests     []Requests    `json:"http_requests"` // by operation and status

	Warnings []Warning `json:"warnings"` // the worst first
	Drops    []Drop    `json:"drops"`    // since the start, by falling count
}

// Link states of an upstream.
const (
	LinkUp         = "up"
	LinkConnecting = "connecting" // back-off included
	LinkStandby    = "standby"    // no route leads there, and it takes over for others by links of theirs
	LinkPaused     = "paused"     // by the operator, or a refusal of the cloud's policy
)

// Upstream is one cloud and its queues together.
type Upstream struct {
	Name        string    `json:"name"`
	Link        string    `json:"link"`                 // see LinkUp and its like
	Since       time.Time `json:"since"`                // of the present link state
	LastError   string    `json:"last_error,omitempty"` // why it is not up
	Way         string    `json:"way,omitempty"`        // the endpoint in use, while up
	Ways        []Way     `json:"ways,omitempty"`       // the best first, where there are several
	Depth       int64     `json:"depth"`                // records waiting
	Bytes       int64     `json:"bytes"`                // of their topics and payloads
	OldestAge   float64   `json:"oldest_age_seconds"`   // 0 when empty
	InRate      float64   `json:"in_rate"`              // messages a second that its queues are given
	OutRate     float64   `json:"out_rate"`             // acknowledged messages a second
	Metered     *Metered  `json:"metered,omitempty"`    // windows and budget, of a link that has some
	Things      *Things   `json:"things,omitempty"`     // those that are connections of their own
	InFlight    int       `json:"in_flight"`            // sent, not yet acknowledged
	Connections int       `json:"connections"`          // of the uplink, up now
	Wanted      int       `json:"connections_wanted"`   // of them
	Connects    int64     `json:"connects"`             // links that came up since the start
	Allowed     float64   `json:"allowed_rate"`         // messages a second that its connections may send; 0: unlimited
	Slowed      bool      `json:"slowed"`               // the cloud throttles: allowed_rate is below the configured one
	Throttled   int64     `json:"throttled"`            // how often it was slowed down
	Drain       float64   `json:"drain_seconds"`        // until empty at the present rates; -1: not draining
	Outlook     string    `json:"outlook"`              // the same in words, and when the link is down
	Dead        int64     `json:"dead_letters"`         // records in the dead-letter queues
	Units       int64     `json:"units_today"`          // metered messages delivered today, UTC
	Uncertain   int64     `json:"uncertain_units_today"`
}

// Things counts the things that are connections of their own to an upstream. What
// waits of them, and what they have sent, is in the upstream's figures as well.
type Things struct {
	Configured int      `json:"configured"`
	Connected  int      `json:"connected"`
	Idle       int      `json:"idle"`              // not connected, since they have nothing to send
	Depth      int64    `json:"depth"`             // records of theirs that wait
	Trouble    []string `json:"trouble"`           // those whose connection does not come up, sorted
	USDMonth   string   `json:"usd_month_at_most"` // what their connections cost when all are open all month; empty: not priced
	USDConnect string   `json:"usd_1000_connects"` // what 1000 more connects cost
}

// Way is one way to an upstream.
type Way struct {
	Endpoint string    `json:"endpoint"`
	Error    string    `json:"error,omitempty"` // why it was not used when it was tried last
	At       time.Time `json:"at,omitzero"`     // of that
}

// Devices counts the LAN side.
type Devices struct {
	Connected int `json:"connected"`
	Sessions  int `json:"sessions"` // persistent ones included, connected or not
}

// PolicyState is what the policy refused since the start.
type PolicyState struct {
	AuthErrors    map[string]int64 `json:"auth_errors"`    // by the names of AWS's metrics: "Connect.AuthError"
	SessionsEnded int64            `json:"sessions_ended"` // connections that a change of policy ended
}

// Quota is what was above one of AWS's quotas of pace since the start.
type Quota struct {
	Quota    string `json:"quota"`    // row of AWS's table: "Q06"
	Key      string `json:"key"`      // of the configuration
	Warned   int64  `json:"warned"`   // passed; AWS would have discarded, delayed or refused it
	Enforced int64  `json:"enforced"` // discarded, delayed or refused
}

// SilentClose is MQTT 3.1.1 connections that were closed for a reason which
// only MQTT 5 can be told.
type SilentClose struct {
	Reason string `json:"reason"`
	MQTT5  string `json:"mqtt5"` // what MQTT 5 would have been told: "DISCONNECT 0x87"
	Count  int64  `json:"count"`
}

// Requests is how many HTTP requests of devices had one answer since the start.
type Requests struct {
	Operation string `json:"operation"` // by AWS's name, such as "Publish"; empty for none of them
	Status    int    `json:"status"`
	Count     int64  `json:"count"`
}

// SpoolState is the spool as a whole.
type SpoolState struct {
	Depth     int64   `json:"depth"` // records in upward queues
	Bytes     int64   `json:"bytes"`
	OldestAge float64 `json:"oldest_age_seconds"`
	Drain     float64 `json:"drain_seconds"` // until every upstream's queues are empty; -1: one is not draining
	DiskUsed  int64   `json:"disk_used"`     // of the data directory, bytes on disk
	DiskFree  int64   `json:"disk_free"`     // of its file system
	Full      bool    `json:"full"`          // back-pressure now
}

// Files are those that devices send. Why they are refused or cannot be exported is a
// warning: files-full, files-export, files-refused.
type Files struct {
	Open      int     `json:"open"`               // that take segments
	Waiting   int     `json:"waiting"`            // whole, and not yet exported
	Refused   int     `json:"refused"`            // those of them that the target does not take for what they are
	Bytes     int64   `json:"bytes"`              // of all of them
	OldestAge float64 `json:"oldest_age_seconds"` // of what waits for its export; 0: nothing does
	Held      string  `json:"held,omitempty"`     // why exports are held back: a window, a budget, a pause
}

// Rates are smoothed over the last seconds, in messages a second.
type Rates struct {
	In  float64 `json:"in"`  // accepted from devices
	Out float64 `json:"out"` // acknowledged by clouds
}

// BillState is the short form of the bill. Money is a decimal string of US
// dollars with six digits, so that no reader rounds it.
type BillState struct {
	UnitsToday     int64  `json:"units_today"`
	UncertainToday int64  `json:"uncertain_units_today"`
	USDToday       string `json:"usd_today"`
	USDMonth       string `json:"usd_month"` // this month so far

	// Of a month of 30 days at the pace of the last hour, or of what there is of it:
	// empty where too little has been seen to tell.
	USDProjected     string `json:"usd_month_projection"`
	USDProjectedLow  string `json:"usd_month_projection_low"` // at the pace of the quietest sixth of it
	USDProjectedHigh string `json:"usd_month_projection_high"`
	ProjectedFrom    string `json:"usd_month_projection_basis"` // "the last 42 minutes", or why there is none
}

// Warning is a bridge.Warning in words.
type Warning struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // notice | degraded | critical
	Text     string `json:"text"`
}

// Drop is one line of the drop log.
type Drop struct {
	Reason string    `json:"reason"`
	Count  int64     `json:"count"`
	Logged bool      `json:"logged"` // accepted before, and each stands in the drop log; else refused, or dropped for a device
	Last   time.Time `json:"last"`
	Device string    `json:"device,omitempty"`
	Topic  string    `json:"topic,omitempty"`
	Detail string    `json:"detail,omitempty"` // the policy's reason, for refusals
}
