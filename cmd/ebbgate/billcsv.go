package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/upstream/billing"
)

// What stands in a row of CSV between its names and its words.
var countColumns = []string{
	"metered_messages", "uncertain", "messages", "wire_bytes", "metered_bytes", "retained", "acks", "answers", "other_reading",
	"basic_ingest", "shadow_ops", "throttled", "minutes", "socket_bytes", "usd", "estimated_usd", "not_visible",
}

func countCells(c billing.Counts, usd, estimated, hidden string) (cells []string) {
	for _, v := range []int64{
		c.Units, c.Uncertain, c.Messages, c.Wire, c.Bytes, c.Retained, c.Acks, c.Answers, c.Other, c.Basic, c.Shadow, c.Throttled, c.Minutes, c.Socket,
	} {
		cells = append(cells, strconv.FormatInt(v, 10))
	}
	return append(cells, usd, estimated, hidden)
}

// writeCSV writes the lines of a bill, one a row.
func writeCSV(w io.Writer, b *billing.Bill) error {
	rows := [][]string{append([]string{
		"from", "to", "upstream", "region", "account", "direction", "device", "thing", "topic", "route", "priority",
	}, countColumns...)}
	totals := map[string]billing.Total{}
	for _, t := range b.Totals {
		totals[t.Upstream] = t
	}
	for _, n := range b.Lines {
		t := totals[n.Upstream]
		row := []string{
			b.From.Format(time.RFC3339), b.To.Format(time.RFC3339), harmless(n.Upstream), harmless(t.Region), harmless(t.Account), n.Direction,
			harmless(n.Device), harmless(n.Thing), harmless(n.Topic), n.Route, n.Priority,
		}
		rows = append(rows, append(row, countCells(n.Counts, n.USD, n.Estimated, n.Hidden)...))
	}
	return writeRows(w, rows)
}

// writeGroups writes the rows of the tables of a bill.
func writeGroups(w io.Writer, b *billing.Bill, by string, all []billGroup) error {
	rows := [][]string{append([]string{"from", "to", "upstream", "region", "account", "by", "name"}, countColumns...)}
	for _, g := range all {
		row := []string{b.From.Format(time.RFC3339), b.To.Format(time.RFC3339), harmless(g.Upstream), harmless(g.Region), harmless(g.Account), by, harmless(g.Name)}
		rows = append(rows, append(row, countCells(g.Counts, g.USD, g.Estimated, g.Hidden)...))
	}
	return writeRows(w, rows)
}

func writeRows(w io.Writer, rows [][]string) error {
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// harmless keeps a spreadsheet from taking a name, which is a device's own or an account's, or what
// stands behind a semicolon in it, where that parts cells, for a formula; and a
// terminal from obeying it. JSON has names as they are.
func harmless(name string) string {
	parts := strings.Split(printable(name), ";")
	for i, p := range parts {
		if first, _ := utf8.DecodeRuneInString(p); strings.ContainsRune("=+-@＝＋－＠", first) { // full-width ones are read as the others
			parts[i] = "'" + p
		}
	}
	return strings.Join(parts, ";")
}
