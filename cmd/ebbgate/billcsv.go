package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/upstream/billing"
)

// writeCSV writes the lines of a bill, one a row.
func writeCSV(w io.Writer, b *billing.Bill) error {
	out := csv.NewWriter(w)
	rows := [][]string{{
		"from", "to", "start", "upstream", "region", "account", "direction", "device", "thing", "topic", "route",
		"metered_messages", "uncertain", "messages", "wire_bytes", "metered_bytes", "retained", "acks", "other_reading",
		"basic_ingest", "shadow_ops", "throttled", "minutes", "socket_bytes", "usd", "estimated_usd", "not_visible",
	}}
	totals := map[string]billing.Total{}
	for _, t := range b.Totals {
		totals[t.Upstream] = t
	}
	for _, n := range b.Lines {
		start := ""
		if !n.Start.IsZero() {
			start = n.Start.Format(time.RFC3339)
		}
		t := totals[n.Upstream]
		for _, name := range []*string{&n.Device, &n.Thing, &n.Topic} {
			*name = harmless(*name)
		}
		row := []string{b.From.Format(time.RFC3339), b.To.Format(time.RFC3339), start, n.Upstream, t.Region, t.Account, n.Direction, n.Device, n.Thing, n.Topic, n.Route}
		for _, v := range []int64{
			n.Units, n.Uncertain, n.Messages, n.Wire, n.Bytes, n.Retained, n.Acks, n.Other, n.Basic, n.Shadow, n.Throttled, n.Minutes, n.Socket,
		} {
			row = append(row, strconv.FormatInt(v, 10))
		}
		rows = append(rows, append(row, n.USD, n.Estimated, n.Hidden))
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// harmless keeps a spreadsheet from taking a name, which is a device's own, for
// a formula.
func harmless(name string) string {
	if name != "" && strings.ContainsRune("=+-@\t\r", rune(name[0])) {
		return "'" + name
	}
	return name
}
