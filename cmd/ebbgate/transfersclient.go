package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// adminAddress is where a running gateway is asked.
func adminAddress(config string, sets []string) (string, error) {
	address, err := configs.AdminAddress(config, os.Environ(), sets)
	if err == nil && address == "" {
		err = invalidf("the gateway has no admin port: set admin.address")
	}
	return address, err
}

// noAnswer says what to do when nobody is there.
func noAnswer(err error) error {
	return fmt.Errorf("ask the running gateway: %w; is it running? Its own configuration (--config FILE) says where its admin port is, or --set admin.address=HOST:PORT", err)
}

// transfersClient asks a running gateway about files on its admin port.
type transfersClient struct{ address string }

// errNoTransfer is that the gateway knows no such transfer.
var errNoTransfer = errors.New("there is no such transfer or exported file; ebbgate files ls lists them")

// request asks; the body of the answer is the caller's to close.
func (c *transfersClient) request(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.address+path, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, noAnswer(err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the status says enough without it
	switch {
	case resp.StatusCode == http.StatusNotFound && strings.TrimSpace(string(text)) == upload.ErrUnknown.Error():
		return nil, errNoTransfer
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("the gateway at %s does not know this: it is of an earlier version", c.address)
	}
	return nil, &answerError{resp.StatusCode, strings.TrimSpace(string(text)), waitOf(resp)}
}

// longestWait bounds how long a client waits because it was told to.
const longestWait = 2 * time.Minute

// waitOf is how long an answer says to wait; 0: it does not say.
func waitOf(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(min(n, 3600))*time.Second, longestWait)
}

// answerError is a refusal in the gateway's words.
type answerError struct {
	status int
	text   string
	wait   time.Duration // until it is of use to ask again; 0: it does not say
}

// Error is the text.
func (e *answerError) Error() string { return e.text }

// ask asks and decodes the answer into out, unless that is nil.
func (c *transfersClient) ask(ctx context.Context, method, path string, out any) error {
	resp, err := c.request(ctx, method, path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the gateway at %s: %w", c.address, err)
	}
	return nil
}

// transferPath is where one transfer is asked about. Dots are escaped too: they
// have a meaning in paths.
func transferPath(client, file string) string {
	part := func(s string) string { return strings.ReplaceAll(url.PathEscape(s), ".", "%2E") }
	return transfersPath + "/" + part(client) + "/" + part(file)
}

// each calls fn with the transfers of a state, or of all, page by page, at most
// limit of them; 0: all.
func (c *transfersClient) each(ctx context.Context, state string, limit int, fn func(*upload.Transfer) error) (more bool, err error) {
	following := ""
	for n := 0; ; {
		size := upload.MostListed
		if limit > 0 {
			size = min(size, limit-n)
		}
		q := url.Values{"limit": {fmt.Sprint(size)}}
		if state != "" {
			q.Set("state", state)
		}
		if following != "" {
			q.Set("following", following)
		}
		var page transfersPage
		if err := c.ask(ctx, http.MethodGet, transfersPath+"?"+q.Encode(), &page); err != nil {
			return false, err
		}
		for i := range page.Transfers {
			if err := fn(&page.Transfers[i]); err != nil {
				return false, err
			}
		}
		n += len(page.Transfers)
		if following = page.Following; following == "" || limit > 0 && n >= limit {
			return following != "", nil
		}
	}
}

// show asks for all that is known of a client's file: what runs, and what has been
// exported.
func (c *transfersClient) show(ctx context.Context, client, file string) (all []transferDetail, err error) {
	err = c.ask(ctx, http.MethodGet, transferPath(client, file), &all)
	return all, err
}
