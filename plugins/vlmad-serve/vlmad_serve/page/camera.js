// The camera of this device. Browsers give it only to pages of this machine or of https; elsewhere a photo can be taken
// with the file chooser of a phone.
import { say } from "./dom.js";

export async function openCamera(video) {
  if (!navigator.mediaDevices) {
    say("This browser gives the camera only to https or to this machine itself. Use the file chooser to take a photo.");
    return false;
  }
  try {
    const size = { width: { ideal: 1920 }, height: { ideal: 1080 }, facingMode: "environment" };
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: size, audio: false });
  } catch (error) {
    say(error.name === "NotAllowedError" ? "The camera was not allowed." : "There is no camera that can be used.");
    return false;
  }
  await video.play();
  video.hidden = false;
  return true;
}

export function closeCamera(video) {
  for (const track of video.srcObject ? video.srcObject.getTracks() : []) track.stop();
  video.srcObject = null;
  video.hidden = true;
}

export function grab(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}
