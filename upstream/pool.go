package upstream

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// PoolOptions say how many connections carry what goes up, and what all of them
// together may carry.
type PoolOptions struct {
	Connections    Connections   `koanf:"connections" min:"1" max:"64" word:"auto" doc:"Connections that carry what goes up, or auto: as many as the backlog and the inflow need, up to max_connections. The first has the client id, the others add -2, -3 and so on; the cloud's policy must allow each. A device stays on one connection."`
	MaxConnections int           `koanf:"max_connections" min:"1" max:"64" doc:"Most connections that auto opens."`
	Account        AccountLimits `koanf:"account_limits"`
	PriorityWeight float64       `koanf:"priority_weight" doc:"How many times as often a priority goes as the one below it when both wait, 1.1 to 1000: none starves. 0 sends the lower only when nothing of the higher waits."`
}

// AccountLimits are what all connections of an upstream may carry together, the
// downlink's included.
type AccountLimits struct {
	MessagesPerSecond float64     `koanf:"messages_per_second" doc:"Messages a second on all connections of this upstream together, both directions; 0 is unlimited. AWS IoT Core takes 20000 of an account, 2000 in smaller regions (Q20), from all of its gateways."`
	BytesPerSecond    bridge.Size `koanf:"bytes_per_second" doc:"Bytes a second on all connections of this upstream together, both directions; 0 is unlimited, else at least 1KiB: what the site's line may be used for."`
}

// maxPool is the most connections of one upstream.
const maxPool = 64

// DefaultPool is one connection, and a priority twice as often as the next.
func DefaultPool() PoolOptions {
	return PoolOptions{Connections: 1, MaxConnections: 8, PriorityWeight: 2}
}

// Validate lists everything that is wrong with the options of a pool whose first
// connection has the client id.
func (o PoolOptions) Validate(clientID string) []bridge.Problem {
	var out []bridge.Problem
	add := func(path, remedy, format string, args ...any) {
		out = append(out, bridge.Problem{Path: path, Text: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	if o.MaxConnections < 1 || o.MaxConnections > maxPool {
		add("max_connections", "set it between 1 and 64", "%d is out of range", o.MaxConnections)
	}
	if r := o.Account.MessagesPerSecond; r < 0 || r > 0 && r < 0.01 {
		add("account_limits.messages_per_second", "set it to 0.01 or more, or to 0 for no limit", "%v is not a rate", r)
	}
	if b := o.Account.BytesPerSecond; b < 0 || b > 0 && b < 1<<10 {
		add("account_limits.bytes_per_second", "set it to 1KiB or more, or to 0 for no limit", "%v is too little for an upstream to work", b)
	}
	if w := o.PriorityWeight; w != 0 && (w < 1.1 || w > 1000) {
		add("priority_weight", "set it between 1.1 and 1000, or to 0 to let a lower priority wait for ever", "%v is out of range", w)
	}
	if last := ClientID(clientID, o.Most()-1); o.Most() > 1 && len(last) > maxClientID && len(clientID) <= maxClientID {
		add("client_id", fmt.Sprintf("use at most %d bytes", maxClientID-len(last)+len(clientID)), "the last of %d connections would be %q, which is too long", o.Most(), last)
	}
	return out
}

// maxClientID is what AWS IoT Core takes, in bytes (Q01).
const maxClientID = 128

// Most is how many connections there may ever be.
func (o PoolOptions) Most() int {
	if o.Connections == Auto {
		return o.MaxConnections
	}
	return int(o.Connections)
}

// Bucket is the bucket that all connections share, nil without a limit. A tenth
// of a second's messages may go at once: connections are not in step.
func (o AccountLimits) Bucket() *Bucket {
	if o.MessagesPerSecond == 0 && o.BytesPerSecond == 0 {
		return nil
	}
	return NewBucket(Limits{MessagesPerSecond: o.MessagesPerSecond, Burst: int(o.MessagesPerSecond) / 10, BytesPerSecond: o.BytesPerSecond})
}

// Shared is what all connections to one upstream share.
type Shared struct {
	Account *Bucket // nil: no limit
	Gate    *Gate
	Paces   *Paces // of all that join; nil: nobody takes their place after them

	// Elsewhere reports whether another way or another upstream carries the
	// messages: then there is no hurry. Nil: none does.
	Elsewhere func() bool
}

// Join makes the bucket and the back-off of a client id, or of what else goes by that
// name, some of those that share.
func (s Shared) Join(name string, b *Bucket, back *Backoff) {
	if s.Account != nil {
		b.Within(s.Account)
	}
	back.Through(s.Gate)
	back.elsewhere, back.bucket = s.Elsewhere, b
	if s.Paces != nil {
		s.Paces.join(name, back)
	}
}

// Connections is a number of connections, or Auto.
type Connections int

// Auto is as many connections as are needed.
const Auto Connections = 0

// UnmarshalText parses a number or "auto".
func (c *Connections) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*c = Auto
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > maxPool {
		return fmt.Errorf("%q is neither auto nor a number from 1 to %d", text, maxPool)
	}
	*c = Connections(n)
	return nil
}

// MarshalText writes the number, or "auto".
func (c Connections) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String is the number, or "auto".
func (c Connections) String() string {
	if c == Auto {
		return "auto"
	}
	return strconv.Itoa(int(c))
}

// Load is what a pool has to carry.
type Load struct {
	Records, Bytes int64 // waiting
	Acked          int64 // records since the start
}

// Sizer works out how many connections are needed: as many as carry the inflow
// and, beside it, what waits within drainWithin, each at the rate of its limits.
// It grows at once, and shrinks when it has been too many for shrinkAfter. It is
// for one goroutine.
type Sizer struct {
	o        PoolOptions
	limits   Limits
	last     Load
	at       time.Time // of last
	inflow   float64   // records a second, smoothed
	size     float64   // bytes of one
	n        int
	enoughAt time.Time // when fewer began to be enough; zero: they are not
}

const (
	drainWithin = 10 * time.Minute
	shrinkAfter = 5 * time.Minute
	smoothing   = 30 * time.Second
	// usedPart of the configured rate is counted on, as 90 of AWS's 95.
	usedPart = 0.95
)

// NewSizer makes the sizer of one pool, whose connections have the limits.
func NewSizer(o PoolOptions, l Limits) *Sizer {
	return &Sizer{o: o, limits: l, n: min(1, o.Most())}
}

// Want is how many connections are needed at a time, under a load.
func (z *Sizer) Want(now time.Time, l Load) int {
	if z.o.Connections != Auto {
		return int(z.o.Connections)
	}
	if l.Records > 0 {
		z.size = float64(l.Bytes) / float64(l.Records)
	}
	if !z.at.IsZero() && now.After(z.at) {
		passed := now.Sub(z.at).Seconds()
		came := float64(max(l.Records-z.last.Records+l.Acked-z.last.Acked, 0)) / passed
		z.inflow += (came - z.inflow) * (1 - math.Exp(-passed/smoothing.Seconds()))
	}
	z.last, z.at = l, now
	rate := z.inflow + float64(l.Records)/drainWithin.Seconds()
	need := 1.0
	if z.limits.MessagesPerSecond > 0 {
		need = max(need, math.Ceil(rate/(usedPart*z.limits.MessagesPerSecond)))
	}
	if z.limits.BytesPerSecond > 0 {
		need = max(need, math.Ceil(rate*z.size/float64(z.limits.BytesPerSecond)))
	}
	n := int(min(need, float64(z.o.MaxConnections)))
	switch {
	case n >= z.n:
		z.n, z.enoughAt = n, time.Time{}
	case z.enoughAt.IsZero():
		z.enoughAt = now
	case now.Sub(z.enoughAt) >= shrinkAfter:
		z.n, z.enoughAt = n, time.Time{}
	}
	return z.n
}

// ClientID is the client id of the i-th connection of a pool, from 0 on.
func ClientID(id string, i int) string {
	if i == 0 {
		return id
	}
	return id + "-" + strconv.Itoa(i+1)
}
