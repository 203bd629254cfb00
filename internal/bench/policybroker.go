package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/decisions"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/rules"
)

// brokerMode is the first argument that makes this program a broker, without
// spool and cloud.
const brokerMode = "broker"

// tenStatements is a policy as a fleet has it: of ten statements, the one that
// allows a device's telemetry comes late, and two that deny are asked before.
const tenStatements = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/${iot:ClientId}",
     "Condition": {"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect", "LastWill"]}}},
    {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": "arn:aws:iot:*:*:topicfilter/cmd/${iot:ClientId}/*"},
    {"Effect": "Allow", "Action": "iot:Receive", "Resource": "arn:aws:iot:*:*:topic/cmd/${iot:ClientId}/*"},
    {"Effect": "Deny", "Action": ["iot:Publish", "iot:Receive"], "Resource": "arn:aws:iot:*:*:topic/*/secret/*"},
    {"Effect": "Deny", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/$aws/rules/*"},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/$aws/things/${iot:ClientId}/shadow/*"},
    {"Effect": "Allow", "Action": ["iot:Publish", "iot:RetainPublish"], "Resource": "arn:aws:iot:*:*:topic/state/${iot:ClientId}"},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/maintenance/*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": ["arn:aws:iot:*:*:topic/alarm/${iot:ClientId}/*", "arn:aws:iot:*:*:topic/log/${iot:ClientId}"]},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/dt/${iot:ClientId}/*"}
  ]
}
`

// measurePolicyBroker is the broker's throughput with a policy of ten
// statements against an authorizer that allows everything unasked.
func (b *bench) measurePolicyBroker(ctx context.Context) error {
	folder := filepath.Join(b.work, "ten-statements")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "devices.json"), []byte(tenStatements), 0o600); err != nil {
		return err
	}
	type load struct {
		publishers int
		rate, cpu  *figure
	}
	loads := []load{{publishers: manyDevices}, {publishers: 1}}
	for i := range loads {
		l := &loads[i]
		l.rate = b.report.add(figure{Item: "P3", What: fmt.Sprintf("broker with a 10-statement policy, %s", publishersText(l.publishers)), Unit: "/s", With: "allow-all", Bound: bound{ratioAtLeast, 0.95}})
		l.cpu = b.report.add(figure{Item: "", What: "  processor time a message", Unit: "µs", With: "allow-all"})
	}
	b.note("P3, broker: QoS 1, nothing spooled or forwarded, decision log on; compared with the same broker and an authorizer that allows everything. Both have the engine in memory, as every gateway has; a device publishes on one topic.")
	return b.eachRun(ctx, partPolicyBroker, func(run string) error {
		for _, l := range loads {
			ours, peer, err := b.comparePolicy(ctx, l.publishers, folder)
			if err != nil {
				return err
			}
			l.rate.Ours, l.rate.Peer = append(l.rate.Ours, ours.rate), append(l.rate.Peer, peer.rate)
			l.cpu.Ours, l.cpu.Peer = append(l.cpu.Ours, ours.cpu), append(l.cpu.Peer, peer.cpu)
			b.say("%s: %s: %s/s with policies, %s/s without", run, publishersText(l.publishers), number(ours.rate), number(peer.rate))
		}
		return nil
	})
}

// policySlices is how often a run changes between the two brokers: what is to be seen
// is smaller than what a machine varies by from one second to the next.
const policySlices = 12

// comparePolicy measures both brokers, which are there at once, by turns.
func (b *bench) comparePolicy(ctx context.Context, publishers int, folder string) (ours, peer intake, err error) {
	asking, err := b.openPolicyBroker(ctx, publishers, folder, askPolicy)
	if err != nil {
		return ours, peer, err
	}
	defer asking.close()
	allowing, err := b.openPolicyBroker(ctx, publishers, folder, allowAll)
	if err != nil {
		return ours, peer, err
	}
	defer allowing.close()
	for i := range policySlices {
		turns := []*policyBroker{asking, allowing}
		if i%2 == 1 {
			turns[0], turns[1] = turns[1], turns[0]
		}
		for _, p := range turns {
			if err := p.slice(ctx, b.Intake/policySlices); err != nil {
				return ours, peer, err
			}
		}
	}
	return asking.median(), allowing.median(), nil
}

// intake is what one run of a broker showed.
type intake struct{ rate, cpu float64 }

// policyBroker is a broker with its publishers, and what its slices showed.
type policyBroker struct {
	*child
	fleet    fleet
	rates    []float64
	cpu      time.Duration
	messages int
}

func (b *bench) openPolicyBroker(ctx context.Context, publishers int, folder, whom string) (_ *policyBroker, err error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.work, brokerMode+"-")
	if err != nil {
		return nil, err
	}
	p := &policyBroker{child: &child{name: brokerMode, dir: dir, argv: []string{b.self, brokerMode, addr, folder, whom}}}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if err := p.ready(ctx, addr); err != nil {
		return nil, err
	}
	if p.fleet, err = newFleet(ctx, addr, publishers); err != nil {
		return nil, p.failed(err)
	}
	return p, nil
}

func (p *policyBroker) close() {
	p.fleet.close()
	p.kill()
}

// slice measures for a moment.
func (p *policyBroker) slice(ctx context.Context, d time.Duration) error {
	var from, to time.Duration
	var atFrom, atTo uint64
	rate, err := p.fleet.rate(ctx, d,
		func() { from, _ = readCPU(p.pid()); atFrom = p.fleet.acked() },
		func() { to, _ = readCPU(p.pid()); atTo = p.fleet.acked() })
	if err != nil {
		return p.failed(err)
	}
	p.rates = append(p.rates, rate)
	p.cpu += to - from
	p.messages += int(atTo - atFrom)
	return nil
}

func (p *policyBroker) median() intake {
	return intake{median(p.rates), perMessage(p.cpu, max(p.messages, 1))}
}

func publishersText(n int) string {
	if n == 1 {
		return "one publisher"
	}
	return fmt.Sprintf("%d publishers", n)
}

// Whom a broker asks.
const (
	askPolicy = "policy"
	allowAll  = "allow-all"
)

// runBroker is a broker that authorizes, acknowledges and delivers, and neither
// spools nor forwards.
func runBroker(ctx context.Context, addr, folder string, ask bool) error {
	table, err := rules.Compile(rules.DefaultOptions())
	if err != nil {
		return err
	}
	log, drops := slog.New(slog.DiscardHandler), new(bridge.DropLog)
	clock := bridge.NewClock(func() time.Duration { return 0 }, nil)
	deps := localbroker.Deps{
		Ingest:  bridge.NewIngest(nil, rules.NewRouter(table), clock, nil, drops), // nothing is routed, so nothing is spooled
		DropLog: drops, Log: log, Identities: everybody{}, Authorizer: everybody{},
	}
	l := localbroker.DefaultListener()
	l.Address = addr
	o := policy.DefaultOptions()
	o.Things, o.Policies = "", folder
	engine, err := policy.Load(o)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(engine)
	if ask {
		l.Policies = []string{"devices"}
		deps.Identities = engine
		deps.Authorizer = decisions.NewLog(engine, decisions.Options{Entries: o.Changes.Entries, Sample: o.Changes.Sample})
	}
	options := localbroker.DefaultOptions()
	options.Listeners = []localbroker.ListenerOptions{l}
	b, err := localbroker.New(options, deps)
	if err != nil {
		return err
	}
	if err := b.Listen(); err != nil {
		return err
	}
	return b.Run(ctx)
}

// everybody may do everything, and nobody is asked.
type everybody struct{}

func (everybody) Certificate(*x509.Certificate, string, time.Time) (bridge.Principal, error) {
	return bridge.Principal{}, bridge.Errorf("identify", bridge.NotAuthorized, "the benchmark has no certificates")
}

func (everybody) Named(user, clientID string, policies []string) (bridge.Principal, error) {
	return bridge.Principal{User: user, ClientID: clientID, Policies: policies}, nil
}

func (everybody) Grants(*bridge.Principal) (bridge.Grants, error) { return everybody{}, nil }

func (everybody) Decide(bridge.Request) bridge.Decision { return bridge.Decision{Allowed: true} }
