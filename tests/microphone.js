// Put into a page before its own code: a microphone that says what the test gives it, when it does
{
  // Without a loudspeaker it runs wherever the browser does, and asks for no gesture.
  const room = new AudioContext({ sampleRate: 48000, sinkId: { type: "none" } });
  const microphone = room.createMediaStreamDestination();
  const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);

  navigator.mediaDevices.getUserMedia = async ({ audio, ...others }) => {
    const media = others.video ? await getUserMedia(others) : new MediaStream();
    await room.resume();
    if (audio) microphone.stream.getTracks().forEach((track) => media.addTrack(track.clone()));
    return media;
  };

  /** Say a recording: a whole sound file in base64. Before and after it there is silence. */
  window.say = async (recording) => {
    const bytes = Uint8Array.from(atob(recording), (letter) => letter.charCodeAt(0));
    const sound = room.createBufferSource();
    sound.buffer = await room.decodeAudioData(bytes.buffer);
    sound.connect(microphone);
    sound.start();
  };
}
