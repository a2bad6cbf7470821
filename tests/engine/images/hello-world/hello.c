/* Print the message of the stand-in for the official hello-world. The Dockerfile makes it the image's only file. */
#include <stdio.h>

int main(void) {
    puts("\n"
         "Hello from Docker!\n"
         "\n"
         "This message shows that four steps worked:\n"
         " - The Docker client connected to the engine and asked it for a container.\n"
         " - The engine had the image. It is a stand-in from this project, because Docker Hub is out of reach.\n"
         " - The engine created a container from that image. The image contains one program.\n"
         " - The engine sent the program's output to your terminal.");
    return 0;
}
