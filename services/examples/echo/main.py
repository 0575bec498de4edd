from chassis import Chassis
from draft_api.examples.echo.v1 import service_pb2 as pb
from draft_api.examples.echo.v1 import service_pb2_grpc as rpc


class Echo(rpc.EchoServiceServicer):
    async def Speak(self, request, context):
        return pb.SpeakResponse(output=request.input)


app = Chassis()
app.add_servicer(Echo())
app.route(prefix="/examples.echo.v1.EchoService/")
app.run()
