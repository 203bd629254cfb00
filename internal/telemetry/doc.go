// Package telemetry shows what a running gateway does: the status that CLI,
// demo and console share, Prometheus metrics made of that same status, and the
// admin listener that serves both. It is the only importer of the Prometheus
// client.
//
// The admin listener is for this machine only: it has no login, so it binds to
// loopback, and answers no request that names another host, which keeps web
// pages from reaching it through a browser (DNS rebinding), and none of a web page of
// another origin that would change something.
package telemetry
