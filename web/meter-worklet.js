/** Loudness of every input, ten milliseconds at a time, stamped with the audio clock. */
class Meter extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block_samples = Math.round(sampleRate / 100);
    this.sums = [0, 0];
    this.count_samples = 0;
  }

  process(inputs) {
    inputs.forEach(([channel], index) => {
      if (channel) for (const sample of channel) this.sums[index] += sample * sample;
    });
    this.count_samples += 128;
    if (this.count_samples >= this.block_samples) {
      const levels = this.sums.map((sum) => Math.sqrt(sum / this.count_samples));
      this.port.postMessage({ time_s: currentTime, levels });
      this.sums.fill(0);
      this.count_samples = 0;
    }
    return true;
  }
}

registerProcessor("meter", Meter);
