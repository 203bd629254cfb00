package decisions

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// LogLine is one line of the answer of [Log.ServeHTTP].
type LogLine struct {
	Decision *Entry `json:"decision,omitempty"`
	Missed   uint64 `json:"missed,omitempty"` // decisions that were overwritten before they could be read
}

// heartbeat is how often a reader with nothing to read is looked after, so that
// one that has gone is noticed.
const heartbeat = 15 * time.Second

// ServeHTTP serves the log: GET with the parameters follow, denied (both
// "true"), client and action. Without follow the answer ends with the latest
// decision.
func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := Filter{Denied: q.Get("denied") == "true", Client: q.Get("client"), Action: q.Get("action")}
	if err := l.follow(r.Context(), f, q.Get("follow") == "true", newStream(w)); err != nil && !errors.Is(err, errGone) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// errGone says that nobody reads any more.
var errGone = errors.New("the reader has gone")

func (l *Log) follow(ctx context.Context, f Filter, more bool, out *stream) error {
	from, end := l.bounds()
	for {
		records, next, missed := l.read(from)
		if missed > 0 {
			if err := out.line(LogLine{Missed: missed}); err != nil {
				return err
			}
		}
		for i := range records {
			if !f.wants(&records[i]) {
				continue
			}
			e := records[i].entry()
			if err := out.line(LogLine{Decision: &e}); err != nil {
				return err
			}
		}
		from = next
		if !more && from >= end {
			return nil
		}
		if err := out.flush(); err != nil {
			return err
		}
		wait := time.NewTimer(heartbeat)
		select {
		case <-ctx.Done():
		case <-l.news(from):
		case <-wait.C:
			_, _ = out.w.Write([]byte("\n")) // white space between values
		}
		wait.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// stream writes newline-delimited JSON as it comes.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	enc     *json.Encoder
}

func newStream(w http.ResponseWriter) *stream {
	s := &stream{w: w, control: http.NewResponseController(w), enc: json.NewEncoder(w)}
	s.enc.SetEscapeHTML(false)
	w.Header().Set("Content-Type", "application/x-ndjson")
	_ = s.control.SetReadDeadline(time.Time{}) // the answer outlives the server's; without support there is none
	return s
}

func (s *stream) line(v any) error {
	if s.enc.Encode(v) != nil {
		return errGone
	}
	return nil
}

func (s *stream) flush() error {
	if s.control.Flush() != nil {
		return errGone
	}
	return nil
}

// DryRunRequest asks for a dry run of the candidate in these files, which the
// gateway reads.
type DryRunRequest struct {
	Policies string `json:"policies"`         // folder
	Things   string `json:"things,omitempty"` // registry; empty: the active one
}

// DryRunLine is one line of the answer of [DryRunHandler].
type DryRunLine struct {
	Difference *Difference `json:"difference,omitempty"`
	Progress   *Progress   `json:"progress,omitempty"`
	Error      string      `json:"error,omitempty"`
}

// DryRunHandler serves dry runs: POST of a [DryRunRequest] as JSON. It goes on
// until the client has gone.
type DryRunHandler struct {
	Log *Log
	// Load reads a candidate.
	Load func(DryRunRequest) (bridge.Authorizer, error)
	// Standing is as in [Log.DryRun].
	Standing func(func(*bridge.Principal, bridge.Request) bool)
}

// ServeHTTP implements [http.Handler]. It insists on the content type, which a
// web page of another origin cannot send unasked.
func (h DryRunHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		http.Error(w, "send application/json", http.StatusUnsupportedMediaType)
		return
	}
	var req DryRunRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if h.Log.dry.Load() != nil { // before the work of loading; DryRun decides
		http.Error(w, ErrBusy.Error(), http.StatusConflict)
		return
	}
	out := newStream(w)
	candidate, err := h.Load(req)
	if err == nil {
		err = h.Log.DryRun(r.Context(), candidate, h.Standing, func(changed []*Difference, p Progress) error {
			for _, d := range changed {
				if err := out.line(DryRunLine{Difference: d}); err != nil {
					return err
				}
			}
			if err := out.line(DryRunLine{Progress: &p}); err != nil {
				return err
			}
			return out.flush()
		})
	}
	if err != nil {
		_ = out.line(DryRunLine{Error: err.Error()}) // the reader may have gone
	}
}
