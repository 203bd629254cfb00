package billing

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Export serves what a bill is read from, so that `ebbgate bill` can ask a
// running gateway everything that it could read from the spool of a stopped one:
// "?namespace=meter&prefix=202611". A line is a key and a value, each in base64.
func Export(c Counters) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		namespace := q.Get("namespace")
		if namespace != Namespace && namespace != SizesNamespace {
			http.Error(w, "namespace must be "+Namespace+" or "+SizesNamespace, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=us-ascii")
		out := bufio.NewWriter(w)
		err := c.Scan(namespace, q.Get("prefix"), func(key string, value []byte) bool {
			_, err := fmt.Fprintf(out, "%s %s\n", base64.StdEncoding.EncodeToString([]byte(key)), base64.StdEncoding.EncodeToString(value))
			return err == nil && r.Context().Err() == nil
		})
		if err != nil {
			fmt.Fprintf(out, "! %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Fprintln(out, exportEnd)
		}
		_ = out.Flush() // the reader is gone: nobody to tell
	})
}

// exportEnd is the last line: without it something is missing.
const exportEnd = "."

// Remote reads what [Export] serves at an address.
type Remote struct {
	Context context.Context
	Client  *http.Client
	URL     string
	Stall   time.Duration // how long it may say nothing; 0 is for ever
}

// errStalled ends a scan of a gateway that says nothing any more.
var errStalled = errors.New("it does not answer any more; try again, or stop it: its spool is read then")

// maxExportLine bounds one line: a key and a histogram.
const maxExportLine = 1 << 20

// Scan is that of [Counters].
func (r Remote) Scan(namespace, prefix string, fn func(key string, value []byte) bool) error {
	at := r.URL + "?" + url.Values{"namespace": {namespace}, "prefix": {prefix}}.Encode()
	ctx, cancel := context.WithCancelCause(r.Context)
	defer cancel(nil)
	heard := func() {}
	if r.Stall > 0 {
		watch := time.AfterFunc(r.Stall, func() { cancel(errStalled) })
		defer watch.Stop()
		heard = func() { watch.Reset(r.Stall) }
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	failed := func(err error) error {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		return fmt.Errorf("ask the gateway at %s: %w", r.URL, err)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the gateway at %s: %s", r.URL, resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxExportLine)
	for lines.Scan() {
		heard()
		key, value, _ := strings.Cut(lines.Text(), " ")
		switch key {
		case exportEnd:
			return nil
		case "!":
			return fmt.Errorf("the gateway at %s: %s", r.URL, value)
		}
		k, err := base64.StdEncoding.DecodeString(key)
		if err != nil {
			return fmt.Errorf("the gateway at %s answers what is no ledger: %w", r.URL, err)
		}
		v, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return fmt.Errorf("the gateway at %s answers what is no ledger: %w", r.URL, err)
		}
		if !fn(string(k), v) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return failed(err)
	}
	return fmt.Errorf("the gateway at %s: %w", r.URL, io.ErrUnexpectedEOF)
}
