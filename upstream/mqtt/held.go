package mqtt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// Memory keeps which filters the session of a client id may have at its broker, over
// restarts. It is asked by one downlink at a time.
type Memory interface {
	// Filters are those that were kept last, or more; known is false when none ever were.
	Filters() (filters []string, known bool, err error)

	// Keep replaces them, for good once it returns nil.
	Keep(ctx context.Context, filters []string) error
}

// held are the filters that a session may have at the broker, which keeps it while we
// are away: all that were asked for and not taken back. One too many costs an
// UNSUBSCRIBE, which is free (M09). One too few would be sent and billed for as long as
// the session lives.
type held struct {
	memory  Memory   // nil: they are known for as long as the downlink runs
	filters []string // in the order in which they were asked for
	known   bool     // filters is true of the session
	kept    []string // what this downlink has written to memory; nil: nothing yet, or not known

	ended int       // connections that ended before an UNSUBACK came, without one between
	at    time.Time // the last of them
}

const (
	// keepWithin bounds how long a note may keep a SUBSCRIBE waiting: a disk that does
	// not take it must not keep commands away.
	keepWithin = 5 * time.Second

	// mostGone bounds the filters that are kept only to be taken back, for a broker that
	// never lets go of them.
	mostGone = 500

	// mostEnded is after how many connections that end with an UNSUBSCRIBE we believe
	// that they end because of it, and what comes is worth more than what it costs;
	// triedAgain is when the next is tried.
	mostEnded  = 3
	triedAgain = time.Hour
)

// Remember gives the downlink a memory. Without one it knows only of what it has
// subscribed to itself. Call it before Run.
func (d *Downlink) Remember(m Memory) { d.held.memory = m }

// recall is told of each session that begins. One that was there before may have any
// filter of the configuration besides what is noted: of a version that subscribed to
// everything and kept no notes.
func (d *Downlink) recall(present bool) {
	h := &d.held
	switch {
	case !present:
		h.filters = nil
	case !h.known:
		h.filters = d.remembered()
		h.add(d.filters)
	}
	h.known = true
}

// remembered is what memory has. It is kept anew all the same: what a downlink before
// this one was just writing may land behind it, and what is in use is not the oldest.
func (d *Downlink) remembered() []string {
	if d.held.memory == nil {
		return nil
	}
	filters, known, err := d.held.memory.Filters()
	if err != nil {
		d.health.log.Warn("which filters the session has at the broker cannot be read; those that an earlier configuration had may go on coming", "error", err)
	}
	if err != nil || !known {
		return nil
	}
	return filters
}

// add adds those that are not there.
func (h *held) add(filters []string) {
	for _, f := range filters {
		if !slices.Contains(h.filters, f) {
			h.filters = append(h.filters, f)
		}
	}
}

// note keeps filters that are about to be asked for: before, so that a kill between
// leaves one too many and never one too few.
func (d *Downlink) note(ctx context.Context, filters []string) {
	h := &d.held
	h.add(filters)
	gone := 0
	for _, f := range h.filters {
		if !slices.Contains(d.filters, f) {
			gone++
		}
	}
	h.filters = slices.DeleteFunc(h.filters, func(f string) bool {
		drop := gone > mostGone && !slices.Contains(d.filters, f)
		if drop {
			gone--
		}
		return drop
	})
	d.keep(ctx)
}

// keep writes what is held when memory has something else.
func (d *Downlink) keep(ctx context.Context) {
	h := &d.held
	if h.memory == nil || h.kept != nil && slices.Equal(h.kept, h.filters) {
		return
	}
	h.kept = nil
	within, cancel := context.WithTimeout(ctx, keepWithin)
	defer cancel()
	err := h.memory.Keep(within, slices.Clone(h.filters))
	switch {
	case err == nil:
		h.kept = append([]string{}, h.filters...)
	case ctx.Err() == nil:
		d.health.log.Warn("which filters the session has at the broker cannot be kept; what is taken out of the configuration before that works may go on coming", "error", err)
	}
}

// unwanted are the filters that are held and not wanted: what another covers, and what is
// not in the configuration any more. With apart only those that share no topic with one
// of the configuration.
func (d *Downlink) unwanted(r *receiver, apart bool) []string {
	wanted := append(d.wanted(r.refused), filtersOf(r.refused)...)
	return slices.DeleteFunc(slices.Clone(d.held.filters), func(f string) bool {
		return slices.Contains(wanted, f) || apart && slices.ContainsFunc(d.filters, func(w string) bool { return overlap(f, w) })
	})
}

// takeBack unsubscribes from what is not wanted, and reports whether that has made room
// for others. What overlaps with what is wanted goes when that is subscribed to, so that
// no message falls between two filters; what is apart goes before: a broker bounds how
// many there are (Q17). What it does not take back is tried again with the next
// connection: nothing that it says or does not say here ends this one.
func (d *Downlink) takeBack(ctx context.Context, r *receiver, apart bool) (some bool) {
	h := &d.held
	gone := slices.DeleteFunc(d.unwanted(r, apart), func(f string) bool { return slices.Contains(r.stays, f) })
	if h.ended >= mostEnded && time.Since(h.at) < triedAgain {
		return false
	}
	for part := range slices.Chunk(gone, atOnce) {
		codes, err := r.unsubscribe(ctx, part)
		if ctx.Err() != nil {
			return false
		}
		if err != nil && !errors.Is(err, errUnsubscribeTimeout) { // the connection has ended
			if h.ended, h.at = h.ended+1, time.Now(); h.ended >= mostEnded {
				d.tellKept([]string{fmt.Sprintf("the connection ended %d times before it answered", h.ended)}, "a connection after "+triedAgain.String())
			}
			return false
		}
		h.ended = 0
		if err != nil {
			r.stays = append(r.stays, gone...)
			r.kept = append(r.kept, fmt.Sprintf("filter %q and what was to follow: %v", part[0], err))
			break
		}
		held := len(h.filters)
		r.kept = append(r.kept, d.tookBack(part, codes, r.c.server.v3)...)
		r.stays = append(r.stays, part...)
		some = some || len(h.filters) < held
	}
	d.keep(ctx)
	if len(r.kept) == 0 {
		d.health.hooks.Over(d.health.prefix + filtersKept)
	} else {
		d.tellKept(slices.Clone(r.kept), "the next connection")
	}
	return some
}

// tookBack notes what the broker has answered to an UNSUBSCRIBE, and says which of the
// filters it has kept. In MQTT 3.1.1 every answer is a yes.
func (d *Downlink) tookBack(filters []string, codes []byte, v3 bool) (kept []string) {
	for i, f := range filters {
		switch {
		case v3 || i < len(codes) && codes[i] < packets.UnsubackUnspecifiedError:
			d.held.filters = slices.DeleteFunc(d.held.filters, func(h string) bool { return h == f })
		case i >= len(codes):
			kept = append(kept, fmt.Sprintf("filter %q: the answer has no code for it", f))
		default:
			kept = append(kept, fmt.Sprintf("filter %q: 0x%02X: %s", f, codes[i], (&packets.Unsuback{Reasons: codes}).Reason(i)))
		}
	}
	return kept
}

// tellKept tells which filters the session still has, and when it is tried again.
func (d *Downlink) tellKept(filters []string, again string) {
	const most = 8
	if n := len(filters); n > most {
		filters = append(filters[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	d.health.hooks.Warn(bridge.Warning{
		Code: d.health.prefix + filtersKept, Severity: bridge.Degraded,
		Text: fmt.Sprintf("%s does not take back what is not wanted any more, so messages may come, and be billed, that no route takes, or come twice: %s; tried again with %s; who ends the session of client id %q at the broker ends them",
			d.dialer.o.Endpoint, strings.Join(filters, "; "), again, d.health.clientID),
	})
}
