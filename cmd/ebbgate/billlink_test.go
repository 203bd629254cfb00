package main

import (
	"testing"

	"github.com/ebbgate/ebbgate/upstream/billing"
)

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
