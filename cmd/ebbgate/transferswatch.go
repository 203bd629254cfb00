package main

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// The pace of a stream of changes: how often it looks, how often it says something
// when there is nothing to say, so that a reader who is gone is noticed, how long
// one may take to read, and the end of a stream to be written.
const (
	watchEvery    = 500 * time.Millisecond
	watchAlive    = 15 * time.Second
	watchPatience = 30 * time.Second
	watchFarewell = time.Second
)

// watch streams the transfers that run and what becomes of them, as server-sent
// events: "transfer" is one as it is now, "gone" one that has ended, with how it
// ended if that is known. Nothing waits in memory for a slow reader: what is there
// is looked at when the reader has read what was there before, so he sees fewer
// states of it, and always the last.
func (p *watchPlaces) watch(w http.ResponseWriter, r *http.Request, source transferSource) error {
	out := http.NewResponseController(w)
	conn := telemetry.Conn(r)
	place, again := p.take(r.Context(), watcher{out.SetWriteDeadline, func() int { return unread(conn) }})
	if place == nil {
		noPlace(w, again.Truncate(time.Second)+time.Second)
		return nil
	}
	defer p.free(place)
	if err := out.SetReadDeadline(time.Time{}); err != nil { // nothing more is read of this request
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close") // its deadlines are no other request's
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	if _, err := w.Write([]byte("retry: " + strconv.FormatInt(watchAgain.Milliseconds(), 10) + "\n\n")); err != nil {
		return nil // the reader is gone
	}
	s := &changes{source: source, emit: func(name string, v any) error { return writeEvent(w, name, v) }}
	for n := 1; place.stays(); n++ {
		err := s.look()
		if err == nil && n%int(watchAlive/watchEvery) == 0 {
			_, err = w.Write([]byte(": alive\n\n"))
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return nil // the reader is gone
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-look.C:
		}
	}
	_ = out.SetWriteDeadline(time.Now().Add(watchFarewell)) // fails when the reader is gone
	return nil
}

// tooManyWatch is what is said to one for whom there is no place.
const tooManyWatch = "too many watch already: close one, or ask again in a minute"

// noPlace has a reader ask again. By its specification an EventSource does that when a
// stream ends, after the time that the stream has told, and at 503 gives up for good.
// Others know an answer without a place by its Retry-After.
func noPlace(w http.ResponseWriter, again time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(again.Seconds())))
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	text := fmt.Sprintf(": %s\nretry: %d\n\n", tooManyWatch, again.Milliseconds())
	_, _ = w.Write([]byte(text)) // the reader is gone: nobody to tell
}

// transferSource is what changes are looked for in.
type transferSource interface {
	Running(following string, limit int) ([]upload.Transfer, string)
	Show(clientID, fileID string) ([]upload.Detail, error)
}

// changes tells what is other than at the last look. The first look tells all.
type changes struct {
	source transferSource
	emit   func(name string, v any) error
	told   map[transferID]telling
}

// transferID tells transfers apart: an id that is used anew while the file before
// waits for its export is two.
type transferID struct {
	client, file string
	whole        bool
}

func idOf(t *upload.Transfer) transferID { return transferID{t.ClientID, t.FileID, t.SHA256 != ""} }

// of reports whether a transfer has these ids.
func (id transferID) of(t *upload.Transfer) bool {
	return id.client == t.ClientID && id.file == t.FileID
}

// telling is what was told of a transfer, as far as it says whether there is more
// to tell.
type telling struct {
	name     string
	state    upload.State
	received int64
	sent     int64
	attempts int
	failed   string
	messages int64
	moving   bool // its rate has not come to rest
}

func tellingOf(t *upload.Transfer) telling {
	return telling{t.Name, t.State, t.Received, t.Sent, t.Attempts, t.Error, t.Cost.Messages, t.Rate >= 1}
}

// look looks once.
func (c *changes) look() error {
	now := map[transferID]telling{}
	for following := ""; ; {
		page, next := c.source.Running(following, upload.MostListed)
		for i := range page {
			t := &page[i]
			id := idOf(t)
			is := tellingOf(t)
			if was, known := c.told[id]; !known || was != is || is.moving {
				if err := c.emit("transfer", t); err != nil {
					return err
				}
			}
			now[id] = is
		}
		if following = next; next == "" {
			break
		}
	}
	var gone []transferID
	for id := range c.told {
		_, runs := now[id]
		_, whole := now[transferID{id.client, id.file, true}]
		if !runs && !whole {
			gone = append(gone, id)
		}
	}
	slices.SortFunc(gone, func(a, b transferID) int {
		return cmp.Or(strings.Compare(a.client, b.client), strings.Compare(a.file, b.file))
	})
	for _, id := range gone {
		if err := c.emit("gone", c.ending(id)); err != nil {
			return err
		}
	}
	c.told = now
	return nil
}

// ending is what became of a transfer that runs no more.
func (c *changes) ending(id transferID) any {
	all, err := c.source.Show(id.client, id.file)
	for i := range all {
		if err == nil && all[i].State == upload.StateExported {
			return all[i].Transfer
		}
	}
	return struct {
		ClientID string `json:"client_id"`
		FileID   string `json:"file_id"`
	}{id.client, id.file}
}
