/* `transcoder file input.flv outdir`: the way of a broadcast without Redis, as fast as the machine can. For tests, the
 * bench and a look at a recording. */
#pragma once

/* The process's exit status. Writes outdir/<rendition>/<n>.ts, outdir/<rendition>/index.m3u8, outdir/master.m3u8,
 * outdir/segments.jsonl (a line per segment), thumbnails. A second argument pair `--restart-after N` takes the engine
 * down after every N segments and goes on from the checkpoint, as a successor would. */
int file_main(int argc, char **argv);
