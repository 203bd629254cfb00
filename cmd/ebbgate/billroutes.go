package main

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/upstream/billing"
)

// fromFile takes routes and billing of another configuration than cfg, by which
// everything was sent.
func (o *whatIfOptions) fromFile(cfg *configs.Config, f *billing.Fleet, p *billing.Plan) (notes []string, err error) {
	other, err := configs.Load(o.routes, os.Environ(), nil)
	if err != nil {
		return nil, err
	}
	if then, ok := billingOf(other)[f.Upstream]; ok {
		p.Region = then.Region
		if then.Unit != f.Options.Unit {
			p.Unit = int64(then.Unit)
		}
		if p.Prices, err = then.Prices(); err != nil {
			return nil, &exitError{exitInvalid, fmt.Errorf("%s: upstream %s: %w", o.routes, f.Upstream, err)}
		}
		if o.then = protocolOf(then); o.then != protocolOf(f.Options) {
			for i := range p.Treatments {
				p.Treatments[i].Protocol = o.then
			}
		}
	} else {
		notes = append(notes, fmt.Sprintf("%s has no upstream %s: region and unit stay", o.routes, f.Upstream))
	}
	for i, t := range f.Traffic {
		r, ok := routeOf(other, t.Route)
		if !ok && t.Route == rules.PassThroughRoute && other.Routes.PassThrough.Upstream == f.Upstream {
			continue // it has no steps
		}
		if !ok {
			notes = append(notes, fmt.Sprintf("%s has no route %s: its messages are priced as they were", o.routes, t.Route))
			continue
		}
		was, ok := routeOf(cfg, t.Route)
		if !ok { // renamed or removed since: nobody knows its steps
			was = rules.DefaultUpRoute()
			was.From, was.Where = r.From, r.Where
		}
		how := &p.Treatments[i]
		if passesBy(t, r) { // Basic Ingest, too
			r.BasicIngest = ""
		}
		rule := cmp.Or(r.BasicIngest, billing.BasicIngestRule(r.Topic))
		how.BasicIngest, how.Prefix = rule != "", billing.BasicIngestPrefix(rule)
		how.ClearRetain = r.Retain == "clear"
		notes = append(notes, o.around(f, was, r, t, how)...)
		notes = append(notes, o.steps(was, r, t, how, int(cmp.Or(p.Unit, int64(f.Options.Unit))))...)
	}
	return slices.Compact(notes), nil
}

// passesBy reports whether traffic of a route is Sparkplug's, which its steps are not for.
func passesBy(t billing.Traffic, r rules.UpRoute) bool {
	return (t.Kind == billing.Sparkplug || shape.Sparkplug(t.Topic)) && !shape.Sparkplug(r.From)
}

func routeOf(cfg *configs.Config, name string) (rules.UpRoute, bool) {
	at := slices.IndexFunc(cfg.Routes.Up, func(r rules.UpRoute) bool { return r.Name == name })
	if at < 0 {
		return rules.UpRoute{}, false
	}
	return cfg.Routes.Up[at], true
}

// steps are what a route does to its messages that it did not do when they were
// recorded, as they were sent. What cannot be told is said.
func (o *whatIfOptions) steps(was, r rules.UpRoute, t billing.Traffic, how *billing.Treatment, unit int) (notes []string) {
	note := func(format string, args ...any) {
		notes = append(notes, fmt.Sprintf("route %s: ", r.Name)+fmt.Sprintf(format, args...))
	}
	if was.Where != r.Where || was.From != r.From {
		note("which messages its from and where would have taken is not recorded: it is counted as if it were those that it took")
	}
	if passesBy(t, r) {
		return notes
	}
	if t.Kind == billing.Alone {
		if steps := r.Steps; r.Sample != was.Sample || steps.Deadband != was.Steps.Deadband || steps.Window.Every != was.Steps.Window.Every || steps.Batch != was.Steps.Batch {
			note("%s of its messages go alone, and no step leaves them out: requests and the like", thousands(t.Sizes.Messages()))
		}
		return notes
	}
	switch s := r.Sample; {
	case s == was.Sample:
	case was.Sample.Every > 0 || s.Every > 0 && was.Sample.OneIn > 0:
		note("what its sample has left out is not recorded: it is counted as if the sample stayed as it was")
	default:
		how.Thin.OneIn, how.Thin.WasIn, how.Thin.Every = s.OneIn, was.Sample.OneIn, s.Every
	}
	switch d := r.Steps.Deadband; {
	case d == was.Steps.Deadband:
	case was.Steps.Deadband.Field != "":
		note("what its deadband has left out is not recorded: it is counted as if the deadband stayed as it was")
	default:
		note("what a deadband leaves out depends on the values, which are not recorded: it is counted as if nothing were left out")
		o.silence(t, cmp.Or(d.MaxSilence, forEver))
	}
	switch w := r.Steps.Window; {
	case reflect.DeepEqual(w, was.Steps.Window):
	case was.Steps.Window.Every > 0:
		note("the messages that its windows have summed up are not recorded: it is counted as if the windows stayed as they were")
	default:
		how.Thin.Window, how.Thin.WindowSize = w.Every, w.Size(t.MeanTopic())
		note("a window's message is taken to have %d bytes", how.Thin.WindowSize)
	}
	if thin := how.Thin; thin.Every > 0 || thin.Window > 0 {
		note("messages are taken to come evenly, and what a device sends below %s to be of one topic: with more topics more is left", printable(t.Topic))
	}
	switch b := r.Steps.Batch; {
	case b == was.Steps.Batch:
	case was.Steps.Batch.Format != shape.None, t.Kind == billing.Batched:
		note("what is in its batches is not recorded: it is counted as if they stayed as they were")
	case b.Format != shape.None:
		batch, ok := billing.BatchFormat(b.Format, t.MeanPayload())
		if !ok {
			note("batches of %s are not worked out", b.Format)
		}
		batch.Limit, batch.Count, batch.Age = b.Limit(unit), b.Count, b.Age
		batch.Shared, batch.Own = !strings.Contains(r.Topic, "${"), r.Origin == "envelope"
		if text := ownProperties(t); text != "" && !batch.Own {
			note("%s", text)
		}
		how.Batch = batch
	}
	if r.Steps.Compress != was.Steps.Compress {
		note("what compression saves depends on the payloads, which are not recorded")
	}
	if r.Steps.Divert != was.Steps.Divert {
		note("messages that would go as files are priced as they were sent, and what their store costs is not in here")
	}
	if r.Steps.Split != was.Steps.Split {
		note("what its split sends in parts, each of them metered, is counted as it was sent")
	}
	return notes
}

// around is how a route would have sent the names of its messages: their topics, and whose
// they are.
func (o *whatIfOptions) around(f *billing.Fleet, was, r rules.UpRoute, t billing.Traffic, how *billing.Treatment) (notes []string) {
	note := func(text string) { notes = append(notes, fmt.Sprintf("route %s: %s", r.Name, text)) }
	names, begins := t.Names(), t.Topic
	if rule := billing.BasicIngestRule(begins); rule != "" {
		names.Topic = max(names.Topic-billing.BasicIngestPrefix(rule), 0)
		begins = begins[min(billing.BasicIngestPrefix(rule), len(begins)):]
	}
	was.Topic, r.Topic = plainTopic(was.Topic), plainTopic(r.Topic)
	sizes := rules.Names{Topic: names.Topic, ClientID: names.Device, Thing: names.Thing}
	own, known := was.OwnTopicSize(sizes)
	if was.Topic != r.Topic {
		if sizes.Topic = own; was.Topic == rules.DefaultUpRoute().Topic {
			sizes.Begins = begins
		}
		size, ok := r.TopicSize(sizes)
		if ok = ok && (known || !strings.Contains(r.Topic, "${topic")); ok {
			how.Longer = size - names.Topic
		} else {
			note("how long its topics would be is not recorded: they are counted as they were")
		}
	}
	if was.Origin == r.Origin {
		return notes
	}
	if known { // an envelope has the message's own topic
		names.Topic = own
	}
	if (was.Origin == "envelope" || r.Origin == "envelope") && (was.Steps.Batch.Format != shape.None || was.Steps.Compress != shape.None || t.Kind == billing.Batched) {
		note("what an envelope takes of what is batched or compressed already is not recorded: it is counted as it was sent")
		return notes
	}
	mqtt3 := func(protocol string) bool { return protocol == billing.ProtocolMQTT3 }
	how.Was = billing.OriginOf(was.Mode(), names, mqtt3(protocolOf(f.Options)))
	how.Then = billing.OriginOf(r.Mode(), names, mqtt3(cmp.Or(o.protocol, o.then, protocolOf(f.Options))))
	return notes
}

// plainTopic is a topic without the rule that it names.
func plainTopic(topic string) string {
	if rule := billing.BasicIngestRule(topic); rule != "" {
		return topic[min(billing.BasicIngestPrefix(rule), len(topic)):]
	}
	return topic
}

// ownProperties says of traffic with user properties of its devices what batches make of it.
func ownProperties(t billing.Traffic) string {
	n, changes := t.Sizes.Own()
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s messages have user properties of their own, and %s others than the one before: only messages with the same share a batch, which is counted, unless origin: envelope is written with it",
		thousands(n), thousands(t.Sizes.Messages()), thousands(changes))
}

// forEver is longer than any span: of what is silent for so long one message of
// each device is sent.
const forEver = 100 * 365 * 24 * time.Hour

// silence notes how little a deadband may leave: one message in this time.
func (o *whatIfOptions) silence(t billing.Traffic, every time.Duration) {
	if o.quiet == nil {
		o.quiet = map[[2]string]time.Duration{}
	}
	o.quiet[[2]string{t.Route, t.Topic}] = every
}

// fewest is a plan in which deadbands leave out all that they can.
func (o *whatIfOptions) fewest(f *billing.Fleet, p billing.Plan) billing.Plan {
	p.Treatments = slices.Clone(p.Treatments)
	for i, t := range f.Traffic {
		if every, ok := o.quiet[[2]string{t.Route, t.Topic}]; ok {
			p.Treatments[i].Thin.Every = max(p.Treatments[i].Thin.Every, every)
		}
	}
	return p
}
