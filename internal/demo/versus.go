package demo

import (
	"context"
	"fmt"
	"io"
)

// Duel is the same plan with Ebbgate and with mosquitto's bridge.
type Duel struct {
	Ebbgate   *Result `json:"ebbgate"`
	Mosquitto *Result `json:"mosquitto"`
}

// Versus runs the plan with Ebbgate, then with Debian's mosquitto bridge and
// its stock persistence. The cloud's rate limit is lifted for both: a bridge
// that does not keep it would only be throttled.
func Versus(ctx context.Context, s Setup, p Plan, w io.Writer) (*Duel, error) {
	if _, err := findMosquitto(); err != nil {
		return nil, err
	}
	s.NoLimits = true
	var d Duel
	for _, run := range []struct {
		name string
		who  contender
		into **Result
	}{{"ebbgate", ebbgate, &d.Ebbgate}, {"mosquitto", mosquitto, &d.Mosquitto}} {
		_, _ = fmt.Fprintf(w, "== %s\n", run.name)
		r, err := script(ctx, s, run.who, p, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", run.name, err)
		}
		*run.into = r
	}
	return &d, nil
}

// Print writes both counts side by side.
func (d *Duel) Print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "\n%-24s %12s %12s\n", "", "ebbgate", "mosquitto")
	row := func(name string, a, b any) { _, _ = fmt.Fprintf(w, "%-24s %12v %12v\n", name, a, b) }
	e, m := d.Ebbgate, d.Mosquitto
	row("acknowledged to devices", e.Acked, m.Acked)
	row("arrived in the cloud", e.Delivered, m.Delivered)
	row("lost", e.Lost, m.Lost)
	row("duplicates", e.Duplicates, m.Duplicates)
	row("out of order", e.OutOfOrder, m.OutOfOrder)
	row("spooled at kills", fmt.Sprint(e.SpooledAtKill), fmt.Sprint(m.SpooledAtKill))
}
