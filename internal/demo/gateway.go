package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"github.com/ebbgate/ebbgate/internal/telemetry"
)

// The gateway's names in its generated configuration.
const (
	upstreamName = "cloud"
	priceRegion  = "eu-central-1"
)

// awsRate is what the demo sends to a cloud with AWS's limits: its 100 a
// second, less what the network bunches up.
const awsRate = 95

// gatewayPolicy lets a device publish its own telemetry and alarms, and
// anybody to demo/. Everything else is denied.
const gatewayPolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "ConnectAsYourself", "Effect": "Allow", "Action": "iot:Connect",
     "Resource": "arn:aws:iot:*:*:client/${iot:ClientId}"},
    {"Sid": "PublishYourOwn", "Effect": "Allow", "Action": "iot:Publish",
     "Resource": ["arn:aws:iot:*:*:topic/dt/${iot:ClientId}/*", "arn:aws:iot:*:*:topic/alarm/${iot:ClientId}",
                  "arn:aws:iot:*:*:topic/demo/*"]},
    {"Sid": "NeverForOthers", "Effect": "Deny", "Action": "iot:Publish",
     "Resource": "arn:aws:iot:*:*:topic/dt/not-*"}
  ]
}
`

const gatewayConfig = `# Written by "ebbgate demo": a gateway whose cloud is on this machine.
gateway: {id: demo}
spool: {dir: data}
policy: {things: "", policies: policies}
listeners:
  - {name: lan, type: tcp, address: %q, profile: aws-edge, auth: anonymous, policies: [devices]}
routes:
  up:
    - {name: alarms, from: "alarm/#", upstream: cloud, priority: 9}
    - {name: yours, from: "demo/#", upstream: cloud, priority: 7}
    - {name: telemetry, from: "dt/#", upstream: cloud, priority: 4}
upstreams:
  cloud:
    type: sandbox # it is in the process of the demo
    endpoint: %q
    limits: {messages_per_second: %d, bytes_per_second: %s}
    # A person watches: seconds, where AWS asks for more patience.
    keep_alive: 5s
    connect_timeout: 1s
    ack_timeout: 4s
    backoff: {base: 100ms, max: 800ms, floor: 200ms}
    billing: {region: %s}
admin: {address: %q}
`

// gateway is Ebbgate as a child process.
type gateway struct {
	*child
	admin  string
	client *http.Client
}

// newGateway writes a configuration for a gateway whose cloud is at endpoint.
func newGateway(executable, dir, endpoint string, limited bool) (*gateway, error) {
	space, err := newWorkspace(dir, "gateway")
	if err != nil {
		return nil, err
	}
	listen, err := freeAddr("127.0.0.1:1883")
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr("127.0.0.1:9883")
	if err != nil {
		return nil, err
	}
	rate, bytes := 0, "0"
	if limited {
		rate, bytes = awsRate, "448KiB"
	}
	config, err := space.write("ebbgate.yaml", fmt.Sprintf(gatewayConfig, listen, "mqtt://"+endpoint, rate, bytes, priceRegion, admin))
	if err == nil {
		_, err = space.write("policies/devices.json", gatewayPolicy)
	}
	if err != nil {
		return nil, err
	}
	return &gateway{
		child:  &child{name: "ebbgate", space: space, listen: listen, program: executable, args: []string{"run", "--config", config}},
		admin:  admin,
		client: &http.Client{Timeout: 2 * time.Second},
	}, nil
}

// bill is the part of GET /api/v1/bill that the demo shows.
type bill struct {
	Totals []struct {
		Upstream  string `json:"upstream"`
		Uncertain int64  `json:"uncertain_units"`
	} `json:"totals"`
	Lines []struct {
		Upstream  string `json:"upstream"`
		Direction string `json:"direction"`
		Units     int64  `json:"units"`
		USD       string `json:"usd"`
	} `json:"lines"`
}

// status asks the running gateway how it is.
func (g *gateway) status(ctx context.Context) (s telemetry.Status, err error) {
	return s, g.get(ctx, "status", &s)
}

// metered asks the gateway what the cloud billed this month for messages: what
// the connections themselves cost is not what the demo counts.
func (g *gateway) metered(ctx context.Context) (units, uncertain int64, usd string, err error) {
	var b bill
	if err := g.get(ctx, "bill?period=month", &b); err != nil {
		return 0, 0, "", err
	}
	for _, t := range b.Totals {
		if t.Upstream != upstreamName {
			continue
		}
		cost := new(big.Rat)
		for _, n := range b.Lines {
			if n.Upstream != upstreamName || n.Direction != "up" {
				continue
			}
			units += n.Units
			if part, ok := new(big.Rat).SetString(n.USD); ok {
				cost.Add(cost, part)
			}
		}
		return units, t.Uncertain, cost.FloatString(6), nil
	}
	return 0, 0, "", errors.New("the gateway's bill does not know the cloud")
}

func (g *gateway) get(ctx context.Context, what string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/api/v1/"+what, nil)
	if err != nil {
		return err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway's %s: %s", what, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
