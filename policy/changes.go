package policy

import (
	"context"
	"fmt"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The values of ChangeOptions.Change.
const (
	ChangeImmediate = "immediate"
	ChangeAWS       = "aws"
)

// ChangeOptions say what a reload of documents and registry does to who is
// connected, and what is remembered of decisions. Whoever puts the gateway
// together carries them out.
type ChangeOptions struct {
	Change  string        `koanf:"policy_change" enum:"immediate,aws" doc:"What a reload of policies and things does: immediate ends within a second what is no longer allowed, connections and subscriptions; aws does as AWS IoT Core, where a change takes minutes and existing connections and subscriptions stay."`
	Delay   time.Duration `koanf:"policy_delay" doc:"With policy_change aws: how long after a reload the new policies and things take effect, 0s to 1h."`
	Entries int           `koanf:"log_entries" doc:"How many decisions ebbgate policy log can look back on, 0 to 1000000; about 400 bytes each."`
	Sample  int           `koanf:"log_sample" doc:"Of so many allowed requests one is logged, 1 to 1000000000; denied ones all are, and the first of each client and action."`
}

func defaultChanges() ChangeOptions {
	return ChangeOptions{Change: ChangeImmediate, Delay: 6 * time.Minute, Entries: 4096, Sample: 1000}
}

func (o ChangeOptions) validate() []bridge.Problem {
	var problems []bridge.Problem
	add := func(path, text, remedy string) {
		problems = append(problems, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	if o.Change != "" && o.Change != ChangeImmediate && o.Change != ChangeAWS {
		add("policy_change", fmt.Sprintf("%q is unknown", o.Change), "write immediate or aws")
	}
	if o.Delay < 0 || o.Delay > time.Hour {
		add("policy_delay", o.Delay.String()+" is out of range", "write a duration from 0s to 1h; AWS takes 6 to 8 minutes")
	}
	if o.Entries < 0 || o.Entries > 1_000_000 {
		add("log_entries", fmt.Sprintf("%d is out of range", o.Entries), "write a number from 0 to 1000000")
	}
	if o.Sample < 0 || o.Sample > 1_000_000_000 {
		add("log_sample", fmt.Sprintf("%d is out of range", o.Sample), "write a number from 1 to 1000000000")
	}
	return problems
}

// Staged is a state of documents and registry that has been read and found
// good, and is not in force yet.
type Staged struct {
	engine *Engine
	next   *snapshot
	number uint64 // in the order of reading
}

// Stage reads everything again and puts nothing into force. Its error is as in
// [Load].
func (e *Engine) Stage() (*Staged, error) {
	e.reload.Lock()
	defer e.reload.Unlock()
	next, err := loadSnapshot(context.Background(), e.rules, e.opts, func() time.Time { return e.now() })
	if err != nil {
		return nil, err
	}
	e.staged++
	return &Staged{engine: e, next: next, number: e.staged}, nil
}

// Apply puts the state into force at once for every decision, those of
// connected clients too. It reports whether it did: a state that was read
// before the one in force is passed over.
func (s *Staged) Apply() bool {
	e := s.engine
	e.reload.Lock()
	defer e.reload.Unlock()
	if s.number <= e.applied {
		return false
	}
	e.applied = s.number
	s.next.rebind(context.Background(), e.connected.all())
	e.current.Store(s.next)
	return true
}
