package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/policy"
)

// What one decision is measured with.
const (
	distinctTopics = 100_000
	plainDecisions = 100 // of a run: each takes up to milliseconds
	compiledP99    = 5   // µs, at the most statements
	policyClient   = "dev1"
)

// decisionCost are the lines of one size of policy.
type decisionCost struct {
	statements            int
	uncached, cached, p99 *figure
	documents             []policy.Document
	grants                bridge.Grants
	topics                []string
}

// measureDecisions is the first half of P3: what a decision costs on topics that
// were never asked about, on one that was, and by plain Rego, which is what the
// fast path is held against.
func (b *bench) measureDecisions(ctx context.Context) error {
	desk, err := policy.NewDesk(policy.Options{})
	if err != nil {
		return err
	}
	plain, err := desk.Plain(ctx)
	if err != nil {
		return err
	}
	var sizes []*decisionCost
	for _, n := range []int{1, 10, 100} {
		c := &decisionCost{statements: n}
		if err := c.prepare(b.work); err != nil {
			return err
		}
		name := fmt.Sprintf("%d statements", n)
		if n == 1 {
			name = "1 statement"
		}
		c.uncached = b.report.add(figure{Item: "P3", What: "one decision, " + name + ", " + number(distinctTopics) + " topics", Unit: "µs", With: "plain Rego"})
		c.cached = b.report.add(figure{What: "  on a topic that was asked about", Unit: "µs", With: "plain Rego"})
		c.p99 = b.report.add(figure{What: "  p99 of the distinct ones", Unit: "µs"})
		if n == 100 {
			c.p99.Item, c.p99.Bound = "P3", bound{valueAtMost, compiledP99}
		}
		sizes = append(sizes, c)
	}
	b.note("P3: publishing on what the last statement allows; every statement has a variable. Plain Rego reads the documents' JSON for each request.")
	return b.eachRun(ctx, partPolicy, func(run string) error {
		for _, c := range sizes {
			if err := c.measure(ctx, plain); err != nil {
				return err
			}
			b.say("%s: %d statements: %s µs, cached %s µs, plain Rego %s µs", run, c.statements,
				last(c.uncached), last(c.cached), number(c.uncached.Peer[len(c.uncached.Peer)-1]))
		}
		return nil
	})
}

// prepare writes documents of ten statements each and lets a client in by them.
func (c *decisionCost) prepare(dir string) error {
	folder := filepath.Join(dir, fmt.Sprintf("statements-%d", c.statements))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	var names []string
	for first := 0; first < c.statements; first += 10 {
		var list []string
		for i := first; i < min(first+10, c.statements); i++ {
			list = append(list, fmt.Sprintf(`{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/dt/%d/${iot:ClientId}/*"}`, i))
		}
		d := policy.Document{Name: fmt.Sprintf("p%d", first), Text: []byte(`{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`)}
		if err := os.WriteFile(filepath.Join(folder, d.Name+".json"), d.Text, 0o600); err != nil {
			return err
		}
		names, c.documents = append(names, d.Name), append(c.documents, d)
	}
	o := policy.DefaultOptions()
	o.Things, o.Policies = "", folder
	engine, err := policy.Load(o)
	if err != nil {
		return err
	}
	c.grants, err = engine.Grants(&bridge.Principal{ClientID: policyClient, Policies: names, ListenerPolicies: names, Protocol: 5})
	c.topics = make([]string, distinctTopics)
	for i := range c.topics {
		c.topics[i] = fmt.Sprintf("dt/%d/%s/t/%d", c.statements-1, policyClient, i)
	}
	return err
}

// measure makes one run.
func (c *decisionCost) measure(ctx context.Context, plain *policy.Plain) error {
	took := make([]float64, len(c.topics))
	var all time.Duration
	for i, topic := range c.topics {
		start := time.Now()
		d := c.grants.Decide(bridge.Request{Action: bridge.ActionPublish, Name: topic})
		one := time.Since(start)
		if !d.Allowed {
			return fmt.Errorf("topic %s: %s", topic, d.Reason)
		}
		all += one
		took[i] = micro(one)
	}
	c.uncached.Ours = append(c.uncached.Ours, micro(all)/float64(len(c.topics)))
	c.p99.Ours = append(c.p99.Ours, quantile(took, 0.99))

	start := time.Now()
	for range c.topics {
		if !c.grants.Decide(bridge.Request{Action: bridge.ActionPublish, Name: c.topics[0]}).Allowed {
			return fmt.Errorf("topic %s is denied the second time", c.topics[0])
		}
	}
	c.cached.Ours = append(c.cached.Ours, micro(time.Since(start))/float64(len(c.topics)))

	who := policy.Context{ClientID: policyClient}
	start = time.Now()
	for i := range plainDecisions {
		outcome, err := plain.Outcome(ctx, c.documents, who, policy.Question{Action: "iot:Publish", Resource: "topic/" + c.topics[i]})
		if err != nil {
			return err
		}
		if outcome != "ALLOWED" {
			return fmt.Errorf("topic %s: plain Rego says %s", c.topics[i], outcome)
		}
	}
	each := micro(time.Since(start)) / plainDecisions
	c.uncached.Peer, c.cached.Peer = append(c.uncached.Peer, each), append(c.cached.Peer, each)
	return nil
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
