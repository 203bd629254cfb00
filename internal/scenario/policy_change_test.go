package scenario

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// commanded are the statements of a device that may subscribe to some commands.
func commanded(may ...string) []string {
	const thing = "${iot:Connection.Thing.ThingName}"
	var filters []string
	for _, m := range may {
		filters = append(filters, "topicfilter/cmd/"+thing+"/"+m)
	}
	return []string{
		statement("Allow", "iot:Connect", "client/"+thing),
		statement("Allow", "iot:Publish", "topic/dt/"+thing+"/*"),
		statement("Allow", "iot:Subscribe", append(filters, "topicfilter/alive/*")...),
		statement("Allow", "iot:Receive", "topic/cmd/"+thing+"/*"),
	}
}

// changing is a gateway with a device and somebody who may do everything.
func changing(t *testing.T, extra ...string) (g *policyGateway, dev, admin *peers.Cert) {
	t.Helper()
	g = newPolicyGateway(t, "mqtt://"+peers.FreeAddr(t), extra...)
	dev, admin = g.ca.Client("dev", peers.Validity{}), g.ca.Client("admin", peers.Validity{})
	g.policy("device", commanded("a", "b")...)
	g.policy("admin", `{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}`)
	g.things(dev, admin, "ACTIVE")
	g.start()
	return g, dev, admin
}

func (g *policyGateway) things(dev, admin *peers.Cert, status string) {
	g.write("things.yaml", fmt.Sprintf(`things:
  dev: {certificates: [%[1]s], policies: [device]}
  admin: {certificates: [%[2]s], policies: [admin]}
certificates:
  %[1]s: {status: %[3]s}
`, dev.Fingerprint, admin.Fingerprint, status))
}

// joinLAN connects a device that must be let in.
func joinLAN(ctx context.Context, t *testing.T, g *policyGateway, version int, o lanOptions) lan {
	t.Helper()
	d := newLAN(t, g, version, o)
	if got := d.connect(ctx); got != "CONNACK 0x00" && got != "CONNACK 0" {
		t.Fatalf("%s: %s", o.id, got)
	}
	return d
}

// TestPolicyChange: with policy_change immediate, a reload ends what is no
// longer allowed, with the reason; a file that is wrong changes nothing.
func TestPolicyChange(t *testing.T) {
	t.Parallel()
	for _, version := range []int{5, 3} {
		t.Run(fmt.Sprintf("MQTT %d", version), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			g, dev, admin := changing(t)
			ends := func(d lan, reason string) {
				t.Helper()
				got := d.gone(ctx)
				if version == 3 && got != "closed" || version == 5 && (!strings.HasPrefix(got, "DISCONNECT 0x87 policy changed: ") || !strings.Contains(got, reason)) {
					t.Errorf("ended with %q, want the reason %q", got, reason)
				}
			}
			d := joinLAN(ctx, t, g, version, lanOptions{id: "dev", cert: dev, persistent: true})
			for _, name := range []string{"a", "b"} {
				d.subscribe(ctx, "cmd/dev/"+name)
			}
			// A document that is wrong: the last good set stays, and a warning tells.
			g.write("policies/device.json", `{"Version": "2012-10-17", "Statement": [{"Effect": "deny"}]}`)
			g.reload()
			if !until(time.Minute, func() bool { _, body, _ := g.get("/api/v1/status"); return strings.Contains(body, `"reload"`) }) {
				t.Error("no warning about the bad file")
			}
			if got := d.publish(ctx, "dt/dev/x", 1, false, "x"); !strings.HasPrefix(got, "PUBACK") || strings.Contains(got, "0x87") {
				t.Errorf("after a bad file: %s", got)
			}
			// A subscription goes.
			g.policy("device", commanded("a")...)
			g.reload()
			ends(d, "subscription to cmd/dev/b")
			d.cut()
			d = joinLAN(ctx, t, g, version, lanOptions{id: "dev", cert: dev, persistent: true})
			boss := joinLAN(ctx, t, g, 5, lanOptions{id: "admin", cert: admin})
			boss.publish(ctx, "cmd/dev/b", 1, false, "x")
			boss.publish(ctx, "cmd/dev/a", 1, false, "x")
			if got := d.got(ctx); got != "cmd/dev/a" {
				t.Errorf("received %s", got)
			}
			// The certificate goes.
			g.things(dev, admin, "INACTIVE")
			g.reload()
			ends(d, "is INACTIVE")
			if got := newLAN(t, g, version, lanOptions{id: "dev", cert: dev}).connect(ctx); got != "CONNACK 0x87" && got != "CONNACK 5" {
				t.Errorf("an inactive certificate: %s", got)
			}
			if got := boss.publish(ctx, "cmd/dev/a", 1, false, "x"); got != "PUBACK 0x00" {
				t.Errorf("who has nothing to do with it: %s", got)
			}
			if want := "policy changed: 1 of 2 sessions ended"; !strings.Contains(g.log(), want) {
				t.Errorf("the log does not say %q", want)
			}
		})
	}
}

// TestPolicyChangeLikeAWS: with policy_change aws a change takes its time, then
// publishing sees it with the next message; connection and subscription stay,
// and what may not be received is withheld (policy §12).
func TestPolicyChangeLikeAWS(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	g, dev, admin := changing(t, "policy_change: aws", "policy_delay: 2s")
	d := joinLAN(ctx, t, g, 5, lanOptions{id: "dev", cert: dev})
	boss := joinLAN(ctx, t, g, 5, lanOptions{id: "admin", cert: admin})
	d.subscribe(ctx, "cmd/dev/a")
	g.policy("device",
		statement("Allow", "iot:Publish", "topic/still/*"),
		statement("Allow", "iot:Subscribe", "topicfilter/alive/*"),
		statement("Allow", "iot:Receive", "topic/cmd/dev/ok"))
	g.reload()
	if !until(time.Minute, func() bool { _, body, _ := g.get("/api/v1/status"); return strings.Contains(body, `"policy-pending"`) }) {
		t.Error("nothing says that the change is still to come")
	}
	var got string
	if !until(time.Minute, func() bool { got = d.publish(ctx, "dt/dev/x", 1, false, "x"); return got != "PUBACK 0x00" }) || got != "PUBACK 0x87" {
		t.Fatalf("publish: %s", got)
	}
	if got := d.subscribe(ctx, "cmd/dev/a"); got != "SUBACK 0x87" {
		t.Errorf("the next SUBSCRIBE: %s", got)
	}
	boss.publish(ctx, "cmd/dev/a", 1, false, "x") // the subscription is still there, and silent
	if !until(time.Minute, func() bool {
		_, body, _ := g.get("/api/v1/policy/log?denied=true&action=Receive")
		return strings.Contains(body, "topic/cmd/dev/a")
	}) {
		t.Error("the subscription is gone")
	}
	if got := d.publish(ctx, "still/here", 1, false, "x"); got != "PUBACK 0x00" {
		t.Errorf("the connection: %s", got)
	}
	if got := newLAN(t, g, 5, lanOptions{id: "dev", cert: dev}).connect(ctx); got != "CONNACK 0x87" {
		t.Errorf("the next CONNECT: %s", got)
	}
	if _, body, _ := g.get("/api/v1/status"); strings.Contains(body, "policy-pending") {
		t.Error("the warning stays")
	}
}
