package filetransfer

// Options say to whom files are sent.
type Options struct {
	Upstream string `koanf:"upstream" doc:"Name of the upstream that takes the files: an EMQX cluster from 5.3.2 on, or another Ebbgate, with its file transfer enabled. They go over a connection of their own, with the upstream's client id and -files behind it."`
}
