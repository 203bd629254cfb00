package main

import (
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/upstream/billing"
)

// A line that has bytes and nothing else, as that of S3, says so.
func TestBillShowsBytesWithoutMessages(t *testing.T) {
	var out strings.Builder
	table := billTable{out: &out}
	table.known(billing.Total{Upstream: billOfS3, Counts: billing.Counts{Socket: 7786}})
	if got := strings.Join(strings.Fields(out.String()), " "); got != "link: no price (link_price_per_mb) for 7,786 bytes at the socket, TLS included, TCP and IP not" {
		t.Errorf("%q", got)
	}
	out.Reset()
	if table.known(billing.Total{Counts: billing.Counts{Units: 1, Socket: 7786}}); out.String() != "" {
		t.Errorf("%q", out.String())
	}
}

func TestBillSaysWhichBytesTheLinkCosts(t *testing.T) {
	for want, c := range map[string]billing.Counts{
		"link: $0.50 for 1,000 bytes at the socket, TLS included, TCP and IP not; 240 of them are packets of messages": {Socket: 1000, Wire: 240},
		"link: $0.50 for 1,000 bytes at the socket, TLS included, TCP and IP not":                                      {Socket: 1000, Wire: 1000},
		"link: $0.50 for 240 bytes of packets; what else the sockets carry is written once a minute":                   {Socket: 100, Wire: 240},
	} {
		if got := link(billing.Total{Counts: c, LinkUSD: "0.50"}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
