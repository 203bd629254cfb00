// Command pahofile is Eclipse Paho for Go as a device that sends a file in
// segments, many of them in flight. Reconnecting is the library's, and so is
// repeating, as far as it does: what it reports as failed is published again. It
// tells on its output what happens, a JSON object a line.
//
// When it sends something again after a cut, the library reports the first sending as
// acknowledged. So a device that uses it, and goes when all is sent, has to wait for the
// response to its fin.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// options are those of peers.NodeOptions that it knows.
type options struct {
	URL, Client, Topic string
	File               string // what it sends
	Segment            int    // bytes at a time
}

// step is what it tells, a peers.NodeStep.
type step struct {
	Step string
	Code int
}

// window is how many segments are in flight at most.
const window = 40

func main() {
	if err := run(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arg string) error {
	var o options
	if err := json.Unmarshal([]byte(arg), &o); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	content, err := os.ReadFile(o.File)
	if err != nil {
		return err
	}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(o.URL).SetClientID(o.Client).SetCleanSession(false).
		SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond).SetMaxReconnectInterval(200 * time.Millisecond))
	defer c.Disconnect(0)
	if token := c.Connect(); token.Wait() && token.Error() != nil {
		return fmt.Errorf("connect: %w", token.Error())
	}
	answers, err := listen(c, o)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	command := func(name string, payload any) {
		for {
			token := c.Publish(o.Topic+"/"+name, 1, false, payload)
			if token.WaitTimeout(5*time.Second) && token.Error() == nil {
				return
			} // else the link was cut under it: a command may be repeated
		}
	}
	command("init", `{"name":"film.bin"}`)
	offsets, done := make(chan int), make(chan int, window)
	var workers sync.WaitGroup
	for range window {
		workers.Go(func() {
			for at := range offsets {
				command(fmt.Sprint(at), content[at:min(at+o.Segment, len(content))])
				done <- at
			}
		})
	}
	go func() {
		defer close(offsets)
		for at := 0; at < len(content); at += o.Segment {
			offsets <- at
		}
	}()
	tell := json.NewEncoder(os.Stdout)
	for n := 0; n*o.Segment < len(content); n++ {
		<-done
		if err := tell.Encode(step{Step: "acked", Code: n + 1}); err != nil {
			return err
		}
	}
	workers.Wait()
	fin := fmt.Sprintf("fin/%d/%x", len(content), sha256.Sum256(content))
	for whole := false; !whole; {
		command(fin, "")
		select {
		case whole = <-answers: // not while segments are on their way again
		case <-time.After(patience):
		}
	}
	return tell.Encode(step{Step: "sent"})
}

// patience is how long the response to a fin is waited for before it is sent again.
const patience = 2 * time.Second

// listen has the results of fins sent to a channel.
func listen(c mqtt.Client, o options) (<-chan bool, error) {
	answers := make(chan bool, window)
	token := c.Subscribe("$file-response/"+o.Client, 1, func(_ mqtt.Client, m mqtt.Message) {
		var r struct {
			Topic string `json:"topic"`
			Code  int    `json:"reason_code"`
		}
		if json.Unmarshal(m.Payload(), &r) == nil && strings.HasPrefix(r.Topic, o.Topic+"/fin/") {
			select {
			case answers <- r.Code == 0:
			default: // there are enough
			}
		}
	})
	token.Wait()
	return answers, token.Error()
}
