package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// gatewayConfig is the product as it is shipped, but that the cloud is
// mosquitto: no rate limit and a short back-off.
const gatewayConfig = `gateway: {id: bench}
spool: {dir: data, commit_delay: %v}
policy: {things: "", policies: policies}
listeners:
  - {name: lan, type: tcp, address: %q, profile: aws-edge, auth: anonymous, policies: [devices]}
routes:
  up:
    - {name: telemetry, from: "dt/#", %supstream: cloud}
upstreams:
  cloud:
    type: mqtt
    endpoint: %q
    connections: %d
    limits: {messages_per_second: 0, bytes_per_second: 0, in_flight: %d}
    backoff: {base: 100ms, max: 500ms, floor: 200ms}
admin: {address: %q}
`

// gatewayPolicy lets a device publish its own telemetry and files, and nothing
// else.
const gatewayPolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/${iot:ClientId}"},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": ["arn:aws:iot:*:*:topic/dt/${iot:ClientId}/*", "arn:aws:iot:*:*:topic/$file/*"]}
  ]
}
`

// gateway is an ebbgate.
type gateway struct {
	*child
	addr  string
	admin string
	data  string // its spool
}

// gatewayOptions choose how it runs.
type gatewayOptions struct {
	connections int           // to its cloud; 0 for one
	inFlight    int           // of each of them; 0 for what is usual here
	cloud       string        // where its cloud is, or will be
	ca          string        // file of who has signed its cloud's certificate; empty for no TLS
	commitDelay time.Duration // spool.commit_delay
	syncDelay   time.Duration // how much longer each sync takes
	route       string        // settings of its route, each with a comma behind it
	set         []string      // more settings
}

// newGateway writes the configuration of a gateway in a folder of its own below
// dir, which holds its data as well.
func newGateway(binary, dir string, o gatewayOptions) (*gateway, error) {
	home, err := os.MkdirTemp(dir, "ebbgate-")
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	g := &gateway{addr: addrs[0], admin: addrs[1], data: filepath.Join(home, "data")}
	file := filepath.Join(home, "ebbgate.yaml")
	g.child = &child{name: "ebbgate", dir: home, argv: append(slowSyncs(o.syncDelay), binary, "run", "--config", file)}
	for _, s := range o.set {
		g.argv = append(g.argv, "--set", s)
	}
	scheme := "mqtt://"
	if o.ca != "" {
		scheme = "mqtts://"
		g.argv = append(g.argv, "--set", "upstreams.cloud.tls.ca="+o.ca)
	}
	config := fmt.Sprintf(gatewayConfig, o.commitDelay, g.addr, o.route, scheme+o.cloud, max(o.connections, 1), cmp.Or(o.inFlight, inFlight), g.admin)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(home, "policies"), 0o700); err != nil {
		return nil, err
	}
	return g, os.WriteFile(filepath.Join(home, "policies", "devices.json"), []byte(gatewayPolicy), 0o600)
}

// slowSyncs is the command line that lets a program's syncs take longer; empty
// for no delay. The program keeps its place in the tree of processes (-D), and
// only its syncs are stopped at (--seccomp-bpf).
func slowSyncs(delay time.Duration) []string {
	if delay == 0 {
		return nil
	}
	const syncs = "fsync,fdatasync,msync"
	return []string{
		"strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", os.DevNull, "-e", "trace=" + syncs,
		"-e", "inject=" + syncs + ":delay_exit=" + strconv.FormatInt(delay.Microseconds(), 10),
	}
}

// openGateway is newGateway, started and ready. Without a cloud its upstream is
// away: nobody listens there.
func openGateway(ctx context.Context, binary, dir string, o gatewayOptions) (*gateway, error) {
	if o.cloud == "" {
		var err error
		if o.cloud, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	g, err := newGateway(binary, dir, o)
	if err != nil {
		return nil, err
	}
	if err := g.start(ctx); err != nil {
		return nil, err
	}
	if err := g.ready(ctx, g.addr); err != nil {
		g.kill()
		return nil, err
	}
	return g, nil
}

// close kills it and removes its folder.
func (g *gateway) close() {
	g.kill()
	_ = os.RemoveAll(g.dir) // it is below the program's own folder, which is removed at the end
}

// depth asks the gateway how many messages wait for the cloud.
func (g *gateway) depth(ctx context.Context) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/api/v1/status", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, g.failed(err)
	}
	defer resp.Body.Close()
	var s telemetry.Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return 0, g.failed(fmt.Errorf("its status: %s: %w", resp.Status, err))
	}
	return s.Spool.Depth, nil
}
